"""The signal on its way through the network, forward and back, layer by layer."""

from __future__ import annotations

import math

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import figure, join, lead, tag
from visus.report.charts import Axis, Lane, lane_chart
from visus.report.section import Section, sections
from visus.report.seen import Points, Seen
from visus.report.story import Story

MOST = 48
COLORS = ("soft", "train", "validation")


@sections.member
class Flow(Section):
    title, place, reads, of = "Signal flow", 22, ("signal", "layers"), ("watch", "run")

    def body(self, story: Story) -> Markup | None:
        seen = Seen(story)
        forward, back = seen.by_layer("rms"), seen.by_layer("gradient")
        if not forward and not back:
            return None
        said = ("From top to bottom the layers as data meets them. A healthy signal keeps its size from layer to layer, "
                "both ways. It vanishes or explodes where the dots run to the left or to the right.")  # fmt: skip
        return join(lead(said), flow_chart("Forward: size of each layer's response", forward, "root mean square of the response", seen),
                    flow_chart("Backward: size of each layer's gradient", back, "root mean square of the weights' gradient", seen))  # fmt: skip


def flow_chart(
    title: str, series: dict[str, Points], unit: str, seen: Seen, *, strong: str = ""
) -> Markup | None:
    """One lane a layer, with dots for the first, the middle and the last look."""
    if not series:
        return None
    kept, left = few(series)
    longest = max(kept.values(), key=len)
    looks = sorted({0, len(longest) // 2, len(longest) - 1})
    colors = COLORS[-len(looks) :] if len(looks) < 3 else COLORS
    heavy = strong.split(", ")
    lanes = [
        _lane(seen.title(name), points, looks, colors, name in heavy)
        for name, points in kept.items()
    ]
    keys = [
        (f"step {words.whole(longest[i][0])}", color)
        for i, color in zip(looks, colors, strict=True)
    ]
    chart = lane_chart(title, lanes, _axis(unit, lanes), keys=keys)
    return figure(title, chart, left)


def _axis(unit: str, lanes: list[Lane]) -> Axis:
    """Logarithmic, and never less than a factor of ten wide: what hardly differs looks so."""
    values = [v for lane in lanes for v, _, _ in lane.dots if math.isfinite(v) and v > 0]
    if not values:
        return Axis(unit, words.plain)
    low, high = min(values), max(values)
    if high >= 10 * low:
        return Axis(unit, words.plain, log=True)
    middle = math.sqrt(low) * math.sqrt(high)
    return Axis(unit, words.plain, log=True, low=middle / 10**0.5, high=middle * 10**0.5)


def few(series: dict[str, Points]) -> tuple[dict[str, Points], Markup | None]:
    """At most `MOST` layers, evenly, with the sentence that says so."""
    names = list(series)
    if len(names) <= MOST:
        return series, None
    kept = {names[i * (len(names) - 1) // (MOST - 1)] for i in range(MOST)}
    note = tag("p", f"{MOST} of {len(names)} layers are shown, evenly.", class_="note")
    return {name: series[name] for name in names if name in kept}, note


def _lane(name: str, points: Points, looks: list[int], colors, strong: bool) -> Lane:
    dots = []
    for look, color in zip(looks, colors, strict=True):
        if look < len(points):
            step, value = points[look]
            dots.append((value, color, f"step {words.whole(step)}: {words.plain(value)}"))
    return Lane(name, dots, bar="soft", strong=strong)
