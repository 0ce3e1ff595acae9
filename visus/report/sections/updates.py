"""How far one step moves each layer, against the size of its weights."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import figure, join, lead
from visus.report.charts import Axis, Series, line_chart
from visus.report.section import Section, sections
from visus.report.sections.flow import flow_chart
from visus.report.seen import Seen
from visus.report.story import Story


@sections.member
class Updates(Section):
    title, place, reads, of = "Update ratios", 28, ("signal", "layers"), ("watch", "run")

    def body(self, story: Story) -> Markup | None:
        seen = Seen(story)
        layers, whole = seen.by_layer("update"), seen.series("optimizer", "update")
        if not layers and len(whole) < 2:
            return None
        said = ("The length of one step over the length of the weights it changes. About 0.001 is usual; far below it a layer "
                "hardly learns, above 0.1 it forgets at every step what it knew.")  # fmt: skip
        return join(lead(said), flow_chart("Update over weight by layer", layers, "length of one step over length of the weights", seen),
                    _course(whole))  # fmt: skip


def _course(points) -> Markup | None:
    known = [(x, y) for x, y in points if y > 0]
    if len(known) < 2:
        return None
    xs, ys = zip(*known, strict=True)
    chart = line_chart("Update over weight, all layers", [Series("update / weight", xs, ys)],
                       Axis("step", words.whole, whole=True), Axis("length of one step over length of the weights", words.plain, log=True))  # fmt: skip
    return figure("All layers together, over time", chart)
