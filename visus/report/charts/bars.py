"""Bars: named horizontal ones, and stacked shares of a total."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from visus.report import lettering, words
from visus.report.charts.frame import both, line, svg, words_at
from visus.report.charts.scale import HUGE
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
        return sum(abs(v) for v, _ in self.parts if abs(v) <= HUGE)


def bar_chart(
    title: str,
    bars: Sequence[Bar],
    *,
    format: Callable[[float], str] = words.whole,
    keys: Sequence[tuple[str, str]] = (),
) -> Markup:
    """One row a bar, its value behind it. `keys` are (name, color) of stacked parts."""
    return both(lambda width: _draw(width, title, bars, format, keys))


@dataclass(frozen=True)
class _Layout:
    """Where the bars begin and how long they are; on a phone long names stand above them."""

    left: float
    room: float
    scale: float
    above: bool

    @property
    def step(self) -> float:
        return 40.0 if self.above else 24.0


def _draw(width, title, bars: Sequence[Bar], format, keys) -> Markup:
    said = [bar.said or format(bar.total) for bar in bars]
    layout, top = _lay_out(width, bars, said), 26.0 if keys else 6.0
    rows = [
        _row(bar, text, top + layout.step * n, layout)
        for n, (bar, text) in enumerate(zip(bars, said, strict=True))
    ]
    desc = "; ".join(f"{bar.name}: {text}" for bar, text in zip(bars, said, strict=True))
    return svg(width, top + layout.step * len(bars) + 4, title, desc, _keys(keys), rows)


def _lay_out(width: float, bars: Sequence[Bar], said: Sequence[str]) -> _Layout:
    longest = max((lettering.width(bar.name) for bar in bars), default=0)
    above = width < 500 and longest > 14
    room = min(longest, 42)
    left = 4.0 if above else 12 + 6.9 * room
    right = 18 + 7 * max(map(lettering.width, said), default=0)
    most = max([*(bar.total for bar in bars), *(bar.limit or 0 for bar in bars)], default=0)
    return _Layout(
        left, room, max(width - left - right, 40) / (most if most > 1 / HUGE else 1), above
    )


def _keys(keys: Sequence[tuple[str, str]]) -> list[Markup]:
    drawn, at = [], 4.0
    for name, color in keys:
        drawn.append(tag("rect", x=at, y=5.0, width=11, height=11, rx=2, class_=f"fill c-{color}"))
        drawn.append(words_at(at + 16, 15, name, "start", "tick"))
        at += 34 + 7.0 * lettering.width(name)
    return drawn


def _row(bar: Bar, said: str, y: float, layout: _Layout) -> Markup:
    name = words_at(layout.left - 8, y + 15.5, lettering.cut(bar.name, layout.room), "end", "tick")
    if layout.above:
        name = words_at(layout.left, y + 12, lettering.cut(bar.name, layout.room), "start", "tick")
        y += 15
    at, drawn = layout.left, []
    for value, color in bar.parts:
        wide = abs(value) * layout.scale if abs(value) <= HUGE else 0.0
        drawn.append(tag("rect", x=at, y=y + 3, width=wide, height=16, class_=f"fill c-{color}"))
        at += wide
    if bar.limit is not None:
        mark = layout.left + bar.limit * layout.scale
        drawn.append(line(mark, y, mark, y + 22, "limit"))
        at = max(at, mark)
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
        words_at(4, high + 17, f"most: {lettering.cut(values[0][0], 14)} {values[0][2]}", "start", "tick"),
        words_at(width - 4, high + 17, f"fewest: {lettering.cut(values[-1][0], 14)} {values[-1][2]}", "end", "tick"),
    ]  # fmt: skip
    return svg(width, high + 24, title, f"{len(values)} columns.", columns, ends)
