"""Dead and saturated shares by layer over time."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import figure, join, lead
from visus.report.charts import mosaic
from visus.report.section import Section, sections
from visus.report.sections.flow import few
from visus.report.seen import Points, Seen
from visus.report.story import Story

KINDS = (
    ("dead", "Dead units: positive for no sample", "wrong"),
    ("saturated", "Saturated responses: on the flat ends of the activation", "wrong"),
    ("zero", "Responses that are zero", "train"),
)
MOST_LOOKS = 60


@sections.member
class Shares(Section):
    title, place, reads, of = "Dead and saturated", 26, ("signal", "layers"), ("watch", "run")

    def body(self, story: Story) -> Markup | None:
        seen = Seen(story)
        drawn = [_figure(title, seen.by_layer(name), color, seen) for name, title, color in KINDS]
        if not any(drawn):
            return None
        said = ("The fuller the color, the larger the share. About half of a ReLU layer's responses are zero in any case; what does "
                "harm is a unit that is zero for every sample (dead) or that hardly changes any more (saturated).")  # fmt: skip
        return join(lead(said), drawn)


def _figure(title: str, series: dict[str, Points], color: str, seen: Seen) -> Markup | None:
    if not series:
        return None
    kept, left = few(series)
    steps = thin(sorted({step for points in kept.values() for step, _ in points}))
    by_step = {name: dict(points) for name, points in kept.items()}
    table = [[by_step[name].get(step) for step in steps] for name in kept]
    columns = [words.whole(step) for step in steps]
    chart = mosaic(
        title,
        [seen.title(name) for name in kept],
        columns,
        table,
        x_label="step",
        color=color,
        say=_percent,
    )
    return figure(title, chart, left)


def _percent(share: float) -> str:
    return words.NONE if share != share else f"{100 * share:.0f}\u202f%"


def thin(steps: list[float]) -> list[float]:
    """At most `MOST_LOOKS` of the steps looked at, evenly, the last one among them."""
    n = len(steps)
    return (
        steps
        if n <= MOST_LOOKS
        else [steps[i * (n - 1) // (MOST_LOOKS - 1)] for i in range(MOST_LOOKS)]
    )
