"""Was the treated fork better beyond noise? A paired comparison with an interval. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean

SPREAD = 0.03  # how far chance (order, dropout, first weights) moves the error of a short fork


@dataclass(frozen=True)
class Difference:
    """Mean of control minus treatment (positive: the treatment is better), with its interval."""

    mean: float
    low: float
    high: float
    seeds: int
    n: int

    @property
    def better(self) -> bool:
        """Whether the whole interval lies on the side of the treatment."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether the whole interval lies on the side of the control."""
        return self.high < 0

    @property
    def said(self) -> str:
        """The difference in points, with its interval."""
        mean, low, high = (100 * value for value in (self.mean, self.low, self.high))
        return f"{mean:.1f} points less validation error ({low:.1f} to {high:.1f})"


def paired(
    control: Sequence[Sequence[float]], treated: Sequence[Sequence[float]], *, arms: float = 1,
    spread: float = SPREAD,
) -> Difference:  # fmt: skip
    """Compare per-sample errors of the same images, one row a seed, control against treatment.

    With d_i = control_i - treated_i for image i, the variance of the mean over S seeds is taken
    as max(mean_s var(d) / n, var_s(mean d)) / S + spread^2 / S: the images that happened to be
    in validation, and the luck of a seed, which one seed cannot show and `spread` stands for.
    The interval is at 95 % for all `arms` together (Bonferroni).
    """
    gaps = [
        [c - t for c, t in zip(a, b, strict=True)] for a, b in zip(control, treated, strict=True)
    ]
    means = [fmean(row) for row in gaps]
    count, n = len(means), len(gaps[0])
    within = fmean(_variance(row) / len(row) for row in gaps)
    variance = max(within, _variance(means) if count > 1 else 0.0) + spread**2
    half = NormalDist().inv_cdf(1 - 0.025 / max(1, arms)) * sqrt(variance / count)
    middle = fmean(means)
    return Difference(middle, middle - half, middle + half, count, n)


def pooled(first: Difference, second: Difference) -> Difference:
    """Two trials of one treatment, from different snapshots, as one: weights by 1 / variance.

    The second look costs confidence: the interval is at 97.5 %, half of 5 % for either look. The
    standard errors are read from the 95 % intervals; one that was widened for several arms counts
    for less than it could.
    """
    known = [
        (d, ((d.high - d.low) / 2 / NormalDist().inv_cdf(0.975)) ** 2) for d in (first, second)
    ]
    total = sum(1 / variance for _, variance in known)
    middle = sum(d.mean / variance for d, variance in known) / total
    half = NormalDist().inv_cdf(1 - 0.0125) / sqrt(total)
    return Difference(middle, middle - half, middle + half, first.seeds + second.seeds, second.n)


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    middle = fmean(values)
    return sum((value - middle) ** 2 for value in values) / (len(values) - 1)
