"""The words of a line chart: names and last values of its curves, and what a pointer reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from markupsafe import Markup

from visus.report import lettering
from visus.report.charts.frame import Box, line, words_at
from visus.report.charts.scale import Axis, Scale
from visus.report.charts.series import Series
from visus.report.markup import tag


def _last(one: Series) -> float:
    return next((v for v in reversed(one.ys) if math.isfinite(v)), math.nan)


def names(box: Box, series: Sequence[Series], y: Scale) -> list[Markup]:
    """The name and last value of each curve at its end, kept apart from one another."""
    heights = [y(v) if math.isfinite(v := _last(one)) else box.top for one in series]
    ends = sorted(zip(heights, series, strict=True), key=lambda end: end[0])
    drawn, free = [], box.top
    for n, (height, one) in enumerate(ends):
        rest = len(ends) - n - 1
        height = min(max(height, free), box.height - box.bottom - 18 - 32 * rest)
        at = box.width - box.right + 12
        drawn.append(
            words_at(at, height + 1, lettering.cut(one.name, 16), "start", f"name c-{one.color}")
        )
        drawn.append(words_at(at, height + 15, y.axis.format(one.ys[-1]), "start", "value"))
        free = height + 32
    return drawn


def key(box: Box, series: Sequence[Series], y: Scale) -> list[Markup]:
    """On a phone: names and last values in rows above the chart."""
    drawn = []
    for n, one in enumerate(series):
        at, height = 4 + (n % 2) * box.width / 2, 31 + 16 * (n // 2)
        bold = tag("tspan", lettering.cut(one.name, 16), class_=f"name c-{one.color}")
        drawn.append(words_at(at, height, [bold, " ", y.axis.format(one.ys[-1])], "start", "tick"))
    return drawn


def pointing(box: Box, series: Sequence[Series], x: Scale, y: Scale) -> list[Markup]:
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
