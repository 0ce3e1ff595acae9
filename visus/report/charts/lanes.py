"""The lane chart: named rows over one axis, each with its dots and the way between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from visus.report import lettering
from visus.report.charts.frame import both, line, svg, words_at
from visus.report.charts.scale import HUGE, Axis, Scale
from visus.report.markup import tag

TOP = 28.0


@dataclass(frozen=True)
class Lane:
    """A named row. `dots` are (value, color, words); `bar` draws the way between the outer two."""

    name: str
    dots: Sequence[tuple[float, str, str]]
    bar: str | None = None
    strong: bool = False


@dataclass(frozen=True)
class _Frame:
    width: float
    left: float
    room: float
    above: bool

    @property
    def step(self) -> float:
        return 38.0 if self.above else 24.0

    @property
    def right(self) -> float:
        return self.width - 18


def lane_chart(
    title: str, lanes: Sequence[Lane], axis: Axis, *, keys: Sequence[tuple[str, str]] = ()
) -> Markup:
    """One row a lane, top to bottom. `keys` are (name, color) of the dots.

    Dots that are not finite (or 0 on a logarithmic axis) stand as a cross at the edge.
    """
    return both(lambda width: _draw(width, title, lanes, axis, keys))


def _draw(width, title, lanes: Sequence[Lane], axis: Axis, keys) -> Markup:
    frame = _lay_out(width, lanes)
    values = [v for lane in lanes for v, _, _ in lane.dots if math.isfinite(v) and abs(v) <= HUGE]
    x = Scale(axis, values, frame.left + 8, frame.right - 8, 4 if width < 500 else 7)
    bottom = TOP + frame.step * len(lanes) + 4
    ticks = [line(x(t), TOP - 4, x(t), bottom, "grid") for t in x.ticks]
    ticks += [words_at(at, bottom + 16, said, "middle", "tick") for at, said in _apart(axis, x)]
    half = 3.2 * lettering.width(axis.label) + 4  # a long label keeps within the picture
    middle = min(max((frame.left + frame.right) / 2, half), width - half)
    label = words_at(middle, bottom + 34, axis.label, "middle", "label")
    rows = [_row(lane, x, TOP + frame.step * n, frame) for n, lane in enumerate(lanes)]
    desc = "; ".join(f"{lane.name}: {', '.join(w for _, _, w in lane.dots)}" for lane in lanes)
    return svg(width, bottom + 40, title, desc, ticks, _keys(keys), rows, label)


def _apart(axis: Axis, x: Scale) -> list[tuple[float, str]]:
    """The labels of the ticks, those left out that would run into the one before."""
    kept, free = [], -math.inf
    for tick in x.ticks:
        said = axis.tick(tick)
        half = 3.5 * lettering.width(said)
        if x(tick) - half >= free:
            kept.append((x(tick), said))
            free = x(tick) + half + 6
    return kept


def _lay_out(width: float, lanes: Sequence[Lane]) -> _Frame:
    longest = max((lettering.width(lane.name) for lane in lanes), default=0)
    above = width < 500 and longest > 12
    room = min(longest, 34)
    return _Frame(width, 6.0 if above else 14 + 6.9 * room, 34 if above else room, above)


def _keys(keys: Sequence[tuple[str, str]]) -> list[Markup]:
    drawn, at = [], 6.0
    for name, color in keys:
        drawn.append(tag("circle", cx=at + 5, cy=11.0, r=5, class_=f"dot c-{color}"))
        drawn.append(words_at(at + 15, 15, name, "start", "tick"))
        at += 32 + 6.6 * lettering.width(name)
    return drawn


def _row(lane: Lane, x: Scale, y: float, frame: _Frame) -> Markup:
    kind = "tick strong" if lane.strong else "tick"
    name = lettering.cut(lane.name, frame.room)
    text = words_at(frame.left - 8, y + 16, name, "end", kind)
    if frame.above:
        text = words_at(frame.left, y + 11, name, "start", kind)
        y += 13
    middle = y + 12
    places = [x(v) for v, _, _ in lane.dots if _fits(v, x)]
    way = None
    if lane.bar and len(places) > 1:
        way = line(min(places), middle, max(places), middle, f"span c-{lane.bar}")
    dots = [_dot(v, color, x, middle, frame) for v, color, _ in lane.dots]
    said = "\n".join([lane.name, *(w for _, _, w in lane.dots)])
    return tag("g", tag("title", said), text, way, dots)


def _fits(value: float, x: Scale) -> bool:
    return math.isfinite(value) and abs(value) <= HUGE and (value > 0 or not x.axis.log)


def _dot(value: float, color: str, x: Scale, y: float, frame: _Frame) -> Markup:
    if _fits(value, x):
        return tag("circle", cx=x(value), cy=y, r=5, class_=f"dot c-{color}")
    edge = frame.left + 4 if value == 0 else frame.right - 4
    return words_at(edge, y + 5, "×", "middle", "odd")
