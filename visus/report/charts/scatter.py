"""The scatter plot: what was said over what is true, with the line where both agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from visus.report.charts.frame import Box, both, grid, line, svg
from visus.report.charts.scale import HUGE, Axis, Scale
from visus.report.markup import tag

MIDDLE, MOST = 560, 1500


@dataclass(frozen=True)
class Bound:
    """A point with a vertical bar from `low` to `high`."""

    x: float
    y: float
    low: float
    high: float


def scatter(
    title: str, xs: Sequence[float], ys: Sequence[float], x: Axis, y: Axis, *,
    diagonal: bool = True, bounds: Sequence[Bound] = (), path: Sequence[tuple[float, float]] = (),
    mark: tuple[float, float] | None = None,
) -> Markup:  # fmt: skip
    """Points, at most 1,500 of them; `path` is a curve, `bounds` points with bars, `mark` one large."""
    pairs = [(a, b) for a, b in zip(xs, ys, strict=False) if abs(a) <= HUGE and abs(b) <= HUGE]
    pairs = pairs[:: max(1, -(-len(pairs) // MOST))]
    return both(
        lambda width: _draw(width, title, pairs, x, y, diagonal, bounds, path, mark), wide=MIDDLE
    )


def _draw(width, title, pairs, x_axis, y_axis, diagonal, bounds, path, mark) -> Markup:
    box = Box(width, width * 0.8, 58, 30, 28, 44)
    every = [*pairs, *path, *((b.x, v) for b in bounds for v in (b.low, b.high))]
    x = Scale(x_axis, [a for a, _ in every], box.left, box.width - box.right, 5)
    y = Scale(y_axis, [b for _, b in every], box.height - box.bottom, box.top, 5)
    drawn = [tag("circle", cx=x(a), cy=y(b), r=3, class_="dot", opacity=0.6) for a, b in pairs]
    for b in bounds:
        drawn += [line(x(b.x), y(b.low), x(b.x), y(b.high), "span")]
        drawn += [tag("circle", cx=x(b.x), cy=y(b.y), r=4.5, class_="dot")]
    if path:
        steps = " ".join(
            f"{'L' if n else 'M'}{x(a):.1f} {y(b):.1f}" for n, (a, b) in enumerate(path)
        )
        drawn.append(tag("path", d=steps, class_="curve"))
    if mark is not None:
        drawn.append(tag("circle", cx=x(mark[0]), cy=y(mark[1]), r=6, class_="dot"))
    low, high = max(x.low, y.low), min(x.high, y.high)
    same = line(x(low), y(low), x(high), y(high), "mark") if diagonal and low < high else None
    desc = f"{y_axis.label} over {x_axis.label}, {len(pairs) or len(bounds) or len(path)} points."
    return svg(width, box.height, title, desc, grid(box, x, y), same,
               tag("g", drawn, class_="series c-test"))  # fmt: skip
