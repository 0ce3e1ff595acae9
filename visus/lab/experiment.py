"""What an experiment is: a claim, numbers by seed, checks of the claim, one figure.

    @experiments.member("dead-relu")
    class DeadReLU(Experiment):
        topic, claim = "activations", "A dead ReLU stays dead; a leaky one comes back."
        quick = {"steps": 200}          # arguments of `measure`; `full` and `tiny` change some
        def measure(self, seed, *, steps): ...      -> numbers of one seed, ready for JSON
        def checks(self, runs): ...                 -> list of Check, each a part of the claim
        def draw(self, figure, runs): ...           the picture

The verdict is "holds" where the interval over seeds of every check lies on the claimed side of its
limit, "does not hold at this size" where one lies wholly on the other side, "not shown at this
size" where an interval reaches across.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HOLDS, FAILS, OPEN = "holds", "does not hold at this size", "not shown at this size"


@dataclass(frozen=True)
class Check:
    """One number of the claim: `values` by seed should lie below ("<") or above (">") `limit`.

    `ratio`: the values are positive ratios, averaged by their logarithms. `unit` stands behind
    the number; `percent` shows shares as percent.
    """

    what: str
    values: Sequence[float]
    side: str
    limit: float
    ratio: bool = False
    percent: bool = False

    def interval(self) -> tuple[float, float, float]:
        """(mean, low, high): Student's t, 95 %, over seeds; nan bounds for a single seed."""
        return interval(self.values, ratio=self.ratio)

    def state(self) -> str:
        """HOLDS, FAILS or OPEN."""
        mean, low, high = self.interval()
        if not math.isfinite(mean):
            return FAILS
        if math.isnan(low):
            return OPEN
        below, above = high < self.limit, low > self.limit
        right, wrong = (below, above) if self.side == "<" else (above, below)
        if low == high == self.limit:
            return FAILS
        return HOLDS if right else FAILS if wrong else OPEN

    def sentence(self) -> str:
        """The number with its interval and what was claimed of it."""
        mean, low, high = (self._shown(v) for v in self.interval())
        span = "one seed, no interval" if low == "nan" else f"{low} to {high}"
        word = "below" if self.side == "<" else "above"
        return f"{self.what}: {mean} ({span}; claimed {word} {self._shown(self.limit)})"

    def _shown(self, value: float) -> str:
        if math.isnan(value):
            return "nan"
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3g}"

    def record(self) -> dict[str, Any]:
        """The check ready for JSON."""
        mean, low, high = (v if math.isfinite(v) else None for v in self.interval())
        return {
            "what": self.what, "mean": mean, "low": low, "high": high, "side": self.side,
            "limit": self.limit, "seeds": len(self.values), "state": self.state(),
            "sentence": self.sentence(),
        }  # fmt: skip


def interval(values: Sequence[float], *, ratio: bool = False) -> tuple[float, float, float]:
    """(mean, low, high) of a mean over seeds: Student's t, 95 %; geometric with `ratio`."""
    import numpy as np
    from scipy.stats import t

    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(np.asarray(values, float)) if ratio else np.asarray(values, float)
    if not len(x) or not np.isfinite(x).all():
        return math.nan, math.nan, math.nan
    back = math.exp if ratio else float
    half = math.nan
    if len(x) > 1:
        half = float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    mean = float(x.mean())
    return back(mean), back(mean - half), back(mean + half)


def verdict(checks: Sequence[Check]) -> str:
    """The worst state of all checks: a claim holds where each of its parts does."""
    states = {check.state() for check in checks}
    return FAILS if FAILS in states else OPEN if OPEN in states or not states else HOLDS


class Settings(dict):
    """Arguments of `measure`, by name."""


class Experiment:
    """One claim of the lecture; a member of `experiments` overrides what is below."""

    topic: str = ""
    claim: str = ""
    source: str = ""
    seeds: int = 5
    quick = Settings()  # arguments of measure
    full = Settings()  # what the full size changes; `data="cifar10"`: photographs, on a GPU
    tiny = Settings()  # what the tests change: under a second
    rooms: tuple[str, ...] = ("layers", "kernels")  # whose code, changed, makes the numbers stale
    inches: tuple[float, float] = (9.0, 3.6)

    def settings(self, size: str) -> dict[str, Any]:
        """The arguments of `measure` at "quick", "full" or "tiny"."""
        return {**self.quick, **(getattr(self, size) if size != "quick" else {})}

    def measure(self, seed: int, **settings: Any) -> dict[str, Any]:
        """The numbers of one seed, ready for JSON."""
        raise NotImplementedError

    def checks(self, runs: list[dict[str, Any]]) -> list[Check]:
        """The parts of the claim with their numbers by seed."""
        raise NotImplementedError

    def draw(self, figure: Any, runs: list[dict[str, Any]]) -> None:
        """The figure from the numbers alone."""
        raise NotImplementedError
