"""Bars: named horizontal ones, and stacked shares of a total."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from visus.report import words
from visus.report.charts.frame import both, line, svg, words_at
from visus.report.markup import tag


@dataclass(frozen=True)
class Bar:
    """A named bar of one or more stacked `(value, color)` parts; `limit` draws a threshold."""

    name: str
    parts: Sequence[tuple[float, str]]
    limit: float | None = None
    said: str | None = None

    @property
    def total(self) -> float:
        return sum(v for v, _ in self.parts if math.isfinite(v))


def bar_chart(
    title: str,
    bars: Sequence[Bar],
    *,
    format: Callable[[float], str] = words.whole,
    keys: Sequence[tuple[str, str]] = (),
) -> Markup:
    """One row a bar, its value behind it. `keys` are (name, color) of stacked parts."""
    return both(lambda width: _draw(width, title, bars, format, keys))


def _draw(width, title, bars: Sequence[Bar], format, keys) -> Markup:
    room = min(max((words.width(bar.name) for bar in bars), default=0), 14 if width < 500 else 26)
    left, top, step = 12 + 7.2 * room, 26.0 if keys else 6.0, 24
    said = {id(bar): bar.said or format(bar.total) for bar in bars}
    right = 18 + 7 * max((words.width(text) for text in said.values()), default=0)
    most = max([*(abs(bar.total) for bar in bars), *(bar.limit or 0 for bar in bars)], default=0)
    scale = (width - left - right) / (most or 1)
    rows = [
        _row(bar, said[id(bar)], top + step * n, left, room, scale) for n, bar in enumerate(bars)
    ]
    desc = "; ".join(f"{bar.name}: {said[id(bar)]}" for bar in bars)
    return svg(width, top + step * len(bars) + 4, title, desc, _keys(keys), rows)


def _keys(keys: Sequence[tuple[str, str]]) -> list[Markup]:
    drawn, at = [], 4.0
    for name, color in keys:
        drawn.append(tag("rect", x=at, y=5.0, width=11, height=11, rx=2, class_=f"fill c-{color}"))
        drawn.append(words_at(at + 16, 15, name, "start", "tick"))
        at += 34 + 7.0 * words.width(name)
    return drawn


def _row(bar: Bar, said: str, y: float, left: float, room: float, scale: float) -> Markup:
    at, drawn = left, []
    for value, color in bar.parts:
        wide = abs(value) * scale if math.isfinite(value) else 0.0
        drawn.append(tag("rect", x=at, y=y + 3, width=wide, height=16, class_=f"fill c-{color}"))
        at += wide
    if bar.limit is not None:
        mark = left + bar.limit * scale
        drawn.append(line(mark, y, mark, y + 22, "limit"))
        at = max(at, mark)
    name = words_at(left - 8, y + 15.5, words.cut(bar.name, room), "end", "tick")
    value = words_at(at + 7, y + 15.5, said, "start", "value")
    return tag("g", tag("title", f"{bar.name}: {said}"), name, drawn, value)


def share_bars(title: str, values: Sequence[tuple[str, float, str]]) -> Markup:
    """Many thin columns without names, tallest first: the shape of a distribution.

    `values` are (name, value, text); pointing at a column names it.
    """
    return both(lambda width: _columns(width, title, sorted(values, key=lambda v: -v[1])))


def _columns(width: float, title: str, values: Sequence[tuple[str, float, str]]) -> Markup:
    most, high = max((v for _, v, _ in values), default=0) or 1, 120
    step = (width - 8) / max(len(values), 1)
    columns = [
        tag("rect", tag("title", f"{name}: {said}"), x=4 + n * step, width=max(step - 1, 0.4),
            y=high - 110 * value / most, height=110 * value / most, class_="fill c-train")
        for n, (name, value, said) in enumerate(values)
    ]  # fmt: skip
    ends = [] if not values else [
        words_at(4, high + 17, f"most: {words.cut(values[0][0], 14)} {values[0][2]}", "start", "tick"),
        words_at(width - 4, high + 17, f"fewest: {words.cut(values[-1][0], 14)} {values[-1][2]}", "end", "tick"),
    ]  # fmt: skip
    return svg(width, high + 24, title, f"{len(values)} columns.", columns, ends)
