"""Since when: the findings on the axis of steps."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import join, lead
from visus.report.charts import Axis, Lane, lane_chart
from visus.report.section import Section, sections
from visus.report.seen import Seen
from visus.report.story import Story

COLOR = {"error": "bad", "warning": "warn", "info": "good"}


@sections.member
class Onset(Section):
    title, place, reads, of = "Since when", 14, ("finding", "step", "end"), ("watch",)

    def body(self, story: Story) -> Markup | None:
        seen = Seen(story)
        found = [
            line for line in seen.findings() if words.finite(line.get("first_step")) is not None
        ]
        last = words.finite(story.last("end").get("steps")) or max(
            (x for x, _ in seen.losses()), default=0
        )
        if not found or not last:
            return None
        lanes = [_lane(line, last) for line in found]
        keys = [
            (name, color)
            for name, color in COLOR.items()
            if any(line.get("severity") == name for line in found)
        ]
        said = "Each finding from the first step at which it was seen to the last step watched; causes stand above their consequences."
        axis = Axis("step", words.whole, whole=True, zero=True, high=last)
        return join(lead(said), lane_chart("Findings by step", lanes, axis, keys=keys))


def _lane(line: dict, last: float) -> Lane:
    first = float(line["first_step"])
    color = COLOR.get(str(line.get("severity")), "warn")
    name, early = words.text(line.get("id")), f"since step {words.whole(first)}"
    ends = [(first, color, early)] + (
        [(last, color, f"to step {words.whole(last)}")] if last > first else []
    )
    return Lane(name, ends, bar=color)
