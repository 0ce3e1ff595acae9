"""What a line chart is given: series and marks, and how many points are worth drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from visus.report.charts.scale import HUGE

MOST = 400


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


def drawable(one: Series) -> Series:
    """The series without what cannot be placed: no number too large for a picture."""
    pairs = [(a, b if abs(b) <= HUGE else b * math.inf)
             for a, b in zip(one.xs, one.ys, strict=True) if abs(a) <= HUGE] or [(0.0, math.nan)]  # fmt: skip
    xs, ys = zip(*pairs, strict=True)
    return replace(one, xs=xs, ys=ys)


def thin(one: Series) -> Series:
    """At most about `MOST` points: of each stretch the first, least and greatest."""
    n = len(one.xs)
    if n <= MOST:
        return one
    stretch, kept = math.ceil(3 * n / MOST), {0, n - 1}
    for start in range(0, n, stretch):
        part = range(start, min(n, start + stretch))
        known = [i for i in part if math.isfinite(one.ys[i])] or [start]
        kept |= {start, min(known, key=one.ys.__getitem__), max(known, key=one.ys.__getitem__)}
        kept |= {i for i in part if not math.isfinite(one.ys[i])}
    order = sorted(kept)
    return replace(one, xs=[one.xs[i] for i in order], ys=[one.ys[i] for i in order])
