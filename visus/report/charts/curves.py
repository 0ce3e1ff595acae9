"""The line chart: one or more series over a common axis, read off by pointing at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from visus.report.charts import legend
from visus.report.charts.frame import WIDE, Box, both, grid, line, svg, words_at
from visus.report.charts.scale import Axis, Scale
from visus.report.charts.series import Mark, Series, drawable, thin
from visus.report.markup import tag

MOST_CROSSES = 15


def line_chart(
    title: str, series: Sequence[Series], x: Axis, y: Axis, *, marks: Sequence[Mark] = (), wide: float = WIDE,
) -> Markup:  # fmt: skip
    """Curves over one axis, each named at its end with its last value.

    Values that are not finite break their curve and are marked on the upper edge; above
    400 points the extremes of each stretch are kept.
    """
    few = [thin(drawable(one)) for one in series]
    return both(lambda width: _draw(width, title, few, x, y, marks), wide=wide)


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
        (legend.key if slim else legend.names)(box, series, y),
        legend.pointing(box, series, x, y),
    )


def _describe(series: Sequence[Series], x: Axis, y: Axis) -> str:
    ends = [f"{one.name} from {y.format(one.ys[0])} to {y.format(one.ys[-1])}" for one in series]
    return f"{y.label} over {x.label}: " + "; ".join(ends) + "."


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
