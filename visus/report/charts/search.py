"""Pictures of a search: what each trial found in turn, and which values the good ones had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from visus.report import lettering, words
from visus.report.charts.frame import Box, both, grid, line, svg, words_at
from visus.report.charts.scale import Axis, Scale
from visus.report.markup import tag

ROW, SLIM_ROW, TOP = 46.0, 60.0, 14.0


@dataclass(frozen=True)
class Point:
    """One trial: when, how good, what it is called; `whole` where it was trained to the end."""

    x: float
    y: float
    said: str
    whole: bool = True
    chosen: bool = False


def scatter(title: str, points: Sequence[Point], x: Axis, y: Axis) -> Markup:
    """Trials in the order they were made, and a line along the best so far."""
    return both(lambda width: _scatter(width, title, points, x, y))


def _scatter(width: float, title: str, points: Sequence[Point], x_axis: Axis, y_axis: Axis):
    slim = width < 500
    box = Box(width, 290, 50 if slim else 58, 16, 44, 44)
    x = Scale(x_axis, [p.x for p in points], box.left + 6, width - box.right, 4 if slim else 9)
    y = Scale(y_axis, [p.y for p in points], box.height - box.bottom, box.top, 5)
    whole = [p for p in points if p.whole]
    said = f"{len(points)} trials, {len(whole)} trained to the end."
    dots = [_dot(p, x, y) for p in sorted(points, key=lambda p: (p.chosen, p.whole))]
    best = tag("path", d=_best(whole, x, y, box), class_="curve c-train")
    return svg(width, box.height, title, said, grid(box, x, y), best, dots)


def _dot(point: Point, x: Scale, y: Scale) -> Markup:
    kind = "c-validation" if point.chosen else "c-train" if point.whole else "c-soft"
    size = 6.5 if point.chosen else 4.2 if point.whole else 3.2
    shape = "dot" if point.whole else "ring"
    body = tag("circle", cx=x(point.x), cy=y(point.y), r=size, class_=shape)
    return tag("g", tag("title", point.said), body, class_=kind)


def _best(points: Sequence[Point], x: Scale, y: Scale, box: Box) -> str:
    """Steps down along the least value so far, to the right edge."""
    path, least = [], math.inf
    for point in sorted(points, key=lambda p: p.x):
        if point.y < least:
            path += [f"H{x(point.x):.1f} V{y(point.y):.1f}"] if path else [f"M{x(point.x):.1f} {y(point.y):.1f}"]  # fmt: skip
            least = point.y
    return " ".join([*path, f"H{box.width - box.right:.1f}"]) if path else "M0 0"


@dataclass(frozen=True)
class Row:
    """One axis of the parallel coordinates: a number from `low` to `high`, or one of `choices`."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[str, ...] = ()
    percent: bool = False

    def place(self, value: object) -> float | None:
        """Where a value stands, from 0 to 1; None where it is not on the axis."""
        if self.choices:
            n, at = len(self.choices), str(value)
            return (self.choices.index(at) + 0.5) / n if at in self.choices else None
        number = words.finite(value)
        if number is None or (self.log and (number <= 0 or self.low <= 0)):
            return None
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, number))
        return 0.5 if high <= low else min(max((at - low) / (high - low), 0.0), 1.0)

    @property
    def ends(self) -> tuple[str, str]:
        read = words.percent if self.percent else words.plain
        return read(self.low), read(self.high)


@dataclass(frozen=True)
class Thread:
    """One trial across the axes; `values` by the name of the row; `kind`: rest, top or chosen."""

    values: dict[str, object]
    said: str
    kind: str = "rest"


def parallel(title: str, rows: Sequence[Row], threads: Sequence[Thread]) -> Markup:
    """Parallel coordinates, the axes one below the other so that long names can be read."""
    return both(lambda width: _parallel(width, title, rows, threads))


def _parallel(width: float, title: str, rows: Sequence[Row], threads: Sequence[Thread]) -> Markup:
    slim = width < 500
    longest = max((lettering.width(row.name) for row in rows), default=0)
    left = 12.0 if slim else 22 + 6.9 * min(longest, 34)
    row = SLIM_ROW if slim else ROW
    stop, height = width - 14, TOP + row * len(rows) + 8
    order = {"rest": 0, "top": 1, "chosen": 2}
    drawn = [
        _thread(thread, rows, left, stop, row)
        for thread in sorted(threads, key=lambda t: order[t.kind])
    ]
    axes = [_axis(one, TOP + row * (n + 0.5), left, stop, slim) for n, one in enumerate(rows)]
    said = f"{len(threads)} trials over {len(rows)} axes: {', '.join(row.name for row in rows)}."
    return svg(width, height, title, said, drawn, axes)


def _axis(row: Row, y: float, left: float, stop: float, slim: bool) -> Markup:
    name = lettering.cut(row.name, 34)
    label = (
        words_at(left, y - 12, name, "start", "said halo")
        if slim
        else words_at(left - 12, y + 4, name, "end", "said")
    )
    if row.choices:
        step = (stop - left) / len(row.choices)
        ticks = [
            words_at(left + step * (k + 0.5), y + 16, lettering.cut(c, 12), "middle", "tick halo")
            for k, c in enumerate(row.choices)
        ]
    else:
        low, high = row.ends
        ticks = [
            words_at(left, y + 16, low, "start", "tick halo"),
            words_at(stop, y + 16, high, "end", "tick halo"),
        ]
    return tag("g", line(left, y, stop, y, "axis"), label, ticks)


def _thread(thread: Thread, rows: Sequence[Row], left: float, stop: float, step: float) -> Markup:
    """A line through the axes, dashed past those on which the trial has no value."""
    solid, dashed, before, gap = [], [], "", False
    for n, row in enumerate(rows):
        at = row.place(thread.values.get(row.name))
        if at is not None:
            here = f"{left + at * (stop - left):.1f} {TOP + step * (n + 0.5):.1f}"
            if before:
                (dashed if gap else solid).append(f"M{before} L{here}")
            before = here
        gap = at is None
    paths = [
        tag("path", d=" ".join(path), class_=f"thread {thread.kind}{kind}")
        for path, kind in ((solid, ""), (dashed, " dash"))
        if path
    ]
    return tag("g", tag("title", thread.said), paths)
