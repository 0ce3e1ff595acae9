"""The dot chart: a few numbers on one axis, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from visus.report.charts.frame import Box, both, line, svg, words_at
from visus.report.charts.scale import Axis, Scale
from visus.report.markup import tag

MIDDLE = 560
LETTER = 8.0  # pixels of a figure of the values, at most


@dataclass(frozen=True)
class Dot:
    """One number with its name; `low` to `high` is drawn as a bar through it."""

    name: str
    value: float
    color: str
    low: float | None = None
    high: float | None = None


def dot_chart(title: str, dots: Sequence[Dot], axis: Axis) -> Markup:
    """Numbers side by side on one axis, named and valued at their dot."""
    return both(lambda width: _draw(width, title, dots, axis), wide=MIDDLE)


def _draw(width: float, title: str, dots: Sequence[Dot], axis: Axis) -> Markup:
    box = Box(width, 46 + 34 * len(dots), 88, 22, 8, 42)
    values = [v for dot in dots for v in (dot.value, dot.low, dot.high) if v is not None]
    x = Scale(axis, values, box.left, box.width - box.right, 4 if width < 500 else 5)
    bottom = box.height - box.bottom
    rows = [_row(dot, x, 26 + 34 * n, box) for n, dot in enumerate(dots)]
    ticks = [[line(x(t), 6, x(t), bottom, "grid"),
              words_at(x(t), bottom + 18, axis.tick(t), "middle", "tick")]
             for t in x.ticks]  # fmt: skip
    label = words_at(
        (box.left + box.width - box.right) / 2, box.height - 5, axis.label, "middle", "label"
    )
    desc = "; ".join(f"{dot.name} {axis.format(dot.value)}" for dot in dots)
    return svg(width, box.height, title, desc, ticks, rows, label)


def _row(dot: Dot, x: Scale, y: float, box: Box) -> Markup:
    at, said = x(dot.value), x.axis.format(dot.value)
    span, low, high = None, at, at
    if dot.low is not None and dot.high is not None:
        low, high = x(dot.low), x(dot.high)
        span = line(low, y, high, y, "span")
    needed = 10 + LETTER * len(said)  # behind the bar, else before it, else above the dot
    place: tuple[float, float, str] = (at, y - 9, "middle")
    if high + needed <= box.width:
        place = (high + 10, y + 4.5, "start")
    elif low - needed >= box.left:
        place = (low - 10, y + 4.5, "end")
    return tag(
        "g",
        words_at(4, y + 4, dot.name, "start", f"name c-{dot.color}"),
        span,
        tag("circle", cx=at, cy=float(y), r=5.5, class_="dot"),
        words_at(place[0], place[1], said, place[2], "value halo"),
        class_=f"series c-{dot.color}",
    )
