"""Measures of answers, with weights a sample, and their bootstrap intervals.

A statistic here takes weights `(B, n)` (how often each sample counts) and gives `(B,)`: with ones
it is the plain number, with the counts of a draw with replacement one bootstrap value (Efron &
Tibshirani 1993). So every number has an interval in the same few lines.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import torch
from torch import Tensor

Statistic = Callable[[Tensor], Tensor]
TIMES, MOST = 500, 2000  # draws; samples in an n by n comparison


def number(statistic: Statistic, n: int) -> float:
    """The statistic of n samples that count once."""
    return float(statistic(torch.ones(1, n, dtype=torch.float64))[0]) if n else nan


def interval(statistic: Statistic, n: int, times: int = TIMES) -> tuple[float, float]:
    """Its 95 % percentile interval under draws of n samples with replacement; a fixed seed."""
    if n < 2:
        return nan, nan
    draw = torch.Generator().manual_seed(n)
    found = []
    for part in torch.arange(times).split(50):
        drawn = torch.randint(n, (len(part), n), generator=draw)
        weights = torch.zeros(len(part), n, dtype=torch.float64)
        found.append(statistic(weights.scatter_add_(1, drawn, torch.ones_like(weights))))
    values = torch.cat(found)
    values = values[~values.isnan()]
    if not len(values):
        return nan, nan
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def mean(values: Tensor) -> Statistic:
    """The mean of `values` `(n,)`."""
    wide = values.double()
    return lambda w: (w @ wide) / w.sum(1)


def r_squared(said: Tensor, truth: Tensor) -> Statistic:
    """`1 - sum (y - t)^2 / sum (t - mean t)^2`, for `(n,)` each."""
    t, squares = truth.double(), (said.double() - truth.double()) ** 2

    def of(w: Tensor) -> Tensor:
        center = (w @ t) / w.sum(1)
        spread = (w @ t**2) - w.sum(1) * center**2
        return 1 - (w @ squares) / spread.where(spread > 0, nan)

    return of


def auc(scores: Tensor, truth: Tensor) -> Statistic:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    `truth` bool `(n,)`. Source: Hanley & McNeil 1982.
    """
    _, group = scores.double().unique(return_inverse=True)
    count, positive = int(group.max()) + 1 if len(group) else 0, truth.double()

    def of(w: Tensor) -> Tensor:
        ups, downs = (
            torch.zeros(len(w), count, dtype=torch.float64).index_add_(1, group, w * part)
            for part in (positive, 1 - positive)
        )
        below = downs.cumsum(1) - downs
        pairs = ups.sum(1) * downs.sum(1)
        return (ups * (below + downs / 2)).sum(1) / pairs.where(pairs > 0, nan)

    return of


def average_precision(scores: Tensor, truth: Tensor) -> Statistic:
    """`sum_k (R_k - R_(k-1)) P_k` over thresholds, equal scores one threshold; truth bool `(n,)`."""
    _, group = scores.double().unique(return_inverse=True)
    count = int(group.max()) + 1 if len(group) else 0
    group, positive = count - 1 - group, truth.double()

    def of(w: Tensor) -> Tensor:
        ups, all_ = (
            torch.zeros(len(w), count, dtype=torch.float64).index_add_(1, group, part)
            for part in (w * positive, w)
        )
        total = ups.sum(1)
        precision = ups.cumsum(1) / all_.cumsum(1).clamp_min(1e-12)
        return (ups * precision).sum(1) / total.where(total > 0, nan)

    return of


def disorder(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """`(n, n)`: 1 where a pair of different truths is in the wrong order (tie 1/2), and which differ."""
    s, t = scores.double(), truth.double()
    ahead, asked = (s[:, None] - s).sign(), (t[:, None] - t).sign()
    return (1 - ahead * asked) / 2 * asked.abs(), asked.abs()


def misordered(scores: Tensor, truth: Tensor) -> Statistic:
    """Share of pairs of different truths that are in the wrong order, ties half."""
    wrong, asked = disorder(scores, truth)
    return lambda w: ((w @ wrong) * w).sum(1) / ((w @ asked) * w).sum(1)


def kendall(scores: Tensor, truth: Tensor) -> Statistic:
    """Kendall's tau b: `(P - Q) / sqrt(pairs untied in s * pairs untied in t)` (Kendall 1945)."""
    s, t = scores.double(), truth.double()
    ahead, asked = (s[:, None] - s).sign(), (t[:, None] - t).sign()

    def of(w: Tensor) -> Tensor:
        agree, ups, downs = (
            ((w @ m) * w).sum(1) for m in (ahead * asked, ahead.abs(), asked.abs())
        )
        both = (ups * downs).sqrt()
        return agree / both.where(both > 0, nan)

    return of


def row(
    name: str, statistic: Statistic, n: int, better: str = "high", unit: str = "share"
) -> dict[str, object]:
    """A measure as the ledger holds it; `unit` is share (0 to 1), plain or degree of order."""
    low, high = interval(statistic, n)
    known = [None if v != v else v for v in (number(statistic, n), low, high)]
    bounds = known[1:] if None not in known else None
    return {"name": name, "value": known[0], "interval": bounds, "better": better, "unit": unit}
