"""The line chart: one or more series over a common axis, read off by pointing at it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from visus.report import words
from visus.report.charts.frame import Box, both, grid, line, svg, words_at
from visus.report.charts.scale import HUGE, Axis, Scale
from visus.report.markup import tag

MOST, MOST_CROSSES = 400, 15


@dataclass(frozen=True)
class Series:
    """A named curve. `color` is a CSS variable of the page; `dash` helps without color."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    color: str = "train"
    dash: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x` with a few words."""

    x: float
    words: str


def line_chart(
    title: str, series: Sequence[Series], x: Axis, y: Axis, *, marks: Sequence[Mark] = ()
) -> Markup:
    """Curves over one axis, each named at its end with its last value.

    Values that are not finite break their curve and are marked on the upper edge; above
    `MOST` points the extremes of each stretch are kept.
    """
    thin = [_thin(_drawable(one)) for one in series]
    return both(lambda width: _draw(width, title, thin, x, y, marks))


def _draw(width, title, series, x_axis, y_axis, marks) -> Markup:
    slim = width < 500
    box = Box(width, 250 if slim else 290, 50 if slim else 58, 14 if slim else 138, 44, 44)
    if slim:
        box = replace(box, top=44 + 16 * math.ceil(len(series) / 2))
    xs = [v for one in series for v in one.xs] + [mark.x for mark in marks]
    x = Scale(x_axis, xs, box.left, box.width - box.right, 4 if slim else 7)
    ys = [v for one in series for v in one.ys]
    y = Scale(y_axis, ys, box.height - box.bottom, box.top, 5)
    return svg(
        width,
        box.height,
        title,
        _describe(series, x_axis, y_axis),
        grid(box, x, y),
        _marks(box, x, marks),
        [_curve(one, x, y, box) for one in series],
        (_key if slim else _names)(box, series, y),
        _pointing(box, series, x, y),
    )


def _describe(series: Sequence[Series], x: Axis, y: Axis) -> str:
    ends = [f"{one.name} from {y.format(one.ys[0])} to {y.format(one.ys[-1])}" for one in series]
    return f"{y.label} over {x.label}: " + "; ".join(ends) + "."


def _drawable(one: Series) -> Series:
    pairs = [(a, b if abs(b) <= HUGE else b * math.inf)
             for a, b in zip(one.xs, one.ys, strict=True) if abs(a) <= HUGE] or [(0.0, math.nan)]  # fmt: skip
    xs, ys = zip(*pairs, strict=True)
    return replace(one, xs=xs, ys=ys)


def _thin(one: Series) -> Series:
    """At most about `MOST` points: of each stretch the first, least and greatest."""
    n = len(one.xs)
    if n <= MOST:
        return one
    stretch, kept = math.ceil(3 * n / MOST), {0, n - 1}
    for start in range(0, n, stretch):
        part = range(start, min(n, start + stretch))
        kept |= {start, min(part, key=one.ys.__getitem__), max(part, key=one.ys.__getitem__)}
        kept |= {i for i in part if not math.isfinite(one.ys[i])}
    order = sorted(kept)
    return replace(one, xs=[one.xs[i] for i in order], ys=[one.ys[i] for i in order])


def _curve(one: Series, x: Scale, y: Scale, box: Box) -> Markup:
    dash = " dash" if one.dash else ""
    body = tag("path", d=_path(one, x, y, box), class_=f"curve{dash}")
    return tag("g", body, _dots(one, x, y, box), class_=f"series c-{one.color}")


def _path(one: Series, x: Scale, y: Scale, box: Box) -> str:
    """The pen is lifted where a value is not finite, or stays beyond the upper edge."""
    path, pen, beyond, edge = [], "M", False, box.top - 6
    for at, value in zip(one.xs, one.ys, strict=True):
        height = y(value) if math.isfinite(value) else math.nan
        out = height < edge
        if math.isnan(height) or (out and beyond and pen == "M"):
            pen = "M"
        else:
            path.append(f"{pen}{x(at):.1f} {max(height, edge):.1f}")
            pen = "M" if out and path[-1][0] == "L" else "L"
        beyond = out
    return " ".join(path) or "M0 0"


def _dots(one: Series, x: Scale, y: Scale, box: Box) -> list[Markup]:
    """Points of a short series, and a cross where a value is not finite."""
    odd = [at for at, value in zip(one.xs, one.ys, strict=True) if not math.isfinite(value)]
    few = odd[:: math.ceil(len(odd) / MOST_CROSSES)] if odd else []
    drawn = [words_at(x(at), box.top + 4, "×", "middle", "odd") for at in few]
    for at, value in zip(one.xs, one.ys, strict=True):
        if math.isfinite(value) and len(one.xs) <= 30 and y(value) >= box.top - 6:
            drawn.append(tag("circle", cx=x(at), cy=y(value), r=2.6, class_="dot"))
    return drawn


def _marks(box: Box, x: Scale, marks: Sequence[Mark]) -> list[Markup]:
    drawn = []
    for mark in marks:
        at, right = x(mark.x), x(mark.x) > (box.left + box.width - box.right) * 0.55
        drawn.append(line(at, box.top - 6, at, box.height - box.bottom, "mark"))
        side = ("end", 4) if right else ("start", -4)
        drawn.append(words_at(at + side[1], box.top - 10, mark.words, side[0], "said"))
    return drawn


def _last(one: Series) -> float:
    return next((v for v in reversed(one.ys) if math.isfinite(v)), math.nan)


def _names(box: Box, series: Sequence[Series], y: Scale) -> list[Markup]:
    """The name and last value of each curve at its end, kept apart from one another."""
    heights = [y(v) if math.isfinite(v := _last(one)) else box.top for one in series]
    ends = sorted(zip(heights, series, strict=True), key=lambda end: end[0])
    drawn, free = [], box.top
    for n, (height, one) in enumerate(ends):
        rest = len(ends) - n - 1
        height = min(max(height, free), box.height - box.bottom - 18 - 32 * rest)
        at = box.width - box.right + 12
        drawn.append(
            words_at(at, height + 1, words.cut(one.name, 16), "start", f"name c-{one.color}")
        )
        drawn.append(words_at(at, height + 15, y.axis.format(one.ys[-1]), "start", "value"))
        free = height + 32
    return drawn


def _key(box: Box, series: Sequence[Series], y: Scale) -> list[Markup]:
    """On a phone: names and last values in rows above the chart."""
    drawn = []
    for n, one in enumerate(series):
        at, height = 4 + (n % 2) * box.width / 2, 31 + 16 * (n // 2)
        bold = tag("tspan", words.cut(one.name, 16), class_=f"name c-{one.color}")
        drawn.append(words_at(at, height, [bold, " ", y.axis.format(one.ys[-1])], "start", "tick"))
    return drawn


def _pointing(box: Box, series: Sequence[Series], x: Scale, y: Scale) -> list[Markup]:
    """Invisible bands: pointing at one shows its values, without a script."""
    known = sorted({v for one in series for v in one.xs if math.isfinite(v)})
    known = known[:: math.ceil(len(known) / 120)] if known else []
    at = [x(v) for v in known]
    edges = [
        box.left,
        *((a + b) / 2 for a, b in itertools.pairwise(at)),
        box.width - box.right,
    ]
    return [
        _band(box, known[i], at[i], edges[i], edges[i + 1], series, x.axis, y)
        for i in range(len(known))
    ]


def _band(box: Box, value, at, start, stop, series, x_axis: Axis, y: Scale) -> Markup:
    found = [(one, one.ys[list(one.xs).index(value)]) for one in series if value in one.xs]
    said = [f"{one.name} {y.axis.format(v)}" for one, v in found]
    head = f"{x_axis.label} {x_axis.format(value)}"
    dots = [tag("circle", cx=at, cy=y(v), r=4, class_=f"spot c-{one.color}")
            for one, v in found if math.isfinite(v) and y(v) >= box.top - 6]  # fmt: skip
    area = tag("rect", x=start, y=float(box.top), width=max(stop - start, 0.1),
               height=box.height - box.top - box.bottom, class_="area")  # fmt: skip
    cursor = line(at, box.top, at, box.height - box.bottom, "cursor")
    return tag("g", tag("title", "\n".join([head, *said])), area, cursor, dots, class_="band")
