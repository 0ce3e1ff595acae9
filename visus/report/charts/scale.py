"""From values to pixels: domains, ticks, linear and logarithmic axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from visus.report.words import plain

HUGE = 1e100  # a number beyond it is drawn as one that is not finite


@dataclass(frozen=True)
class Axis:
    """What an axis shows: its label with the unit, how numbers read, which scale.

    `zero` makes the axis start at 0; `whole` keeps ticks at whole numbers (epochs, steps);
    `low` and `high` fix an end of the axis.
    """

    label: str
    format: Callable[[float], str] = field(default=plain)
    log: bool = False
    zero: bool = False
    whole: bool = False
    low: float | None = None
    high: float | None = None

    def tick(self, value: float) -> str:
        """A tick's label: round values without decimals of zero (20 %, not 20.0 %), none long."""
        if self.format is plain and abs(value) >= 1e5:
            mantissa, power = f"{value:.1e}".split("e")
            return f"{mantissa.removesuffix('.0')}e{int(power)}"
        return re.sub(r"\.(\d*?)0+(?=\D*$)", _fraction, self.format(value))


def _fraction(found: re.Match[str]) -> str:
    return f".{found[1]}" if found[1] else ""


class Scale:
    """Maps the values of one axis to the pixels from `start` to `stop`."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, stop: float, ticks: int):
        self.axis, self.start, self.stop = axis, start, stop
        known = [v for v in values if abs(v) <= HUGE and (v >= 1 / HUGE or not axis.log)]
        self.low, self.high = _domain(axis, known)
        self.ticks = self._ticks(ticks)
        if axis.zero and axis.high is None and len(self.ticks) > 1 and not axis.log:
            self._reach()

    def __call__(self, value: float) -> float:
        low, high, value = self._map(self.low), self._map(self.high), self._map(value)
        return self.start + (value - low) / (high - low) * (self.stop - self.start)

    def _map(self, value: float) -> float:
        # A logarithm has no zero: what is at or below the axis' end is drawn a bit under it.
        return math.log10(max(value, self.low * 0.7)) if self.axis.log else value

    def _reach(self) -> None:
        """The axis ends on a tick where the next one is near."""
        step = self.ticks[1] - self.ticks[0]
        above = self.ticks[-1] + step
        if self.high > self.ticks[-1] + 0.3 * step:
            self.high, self.ticks = above, [*self.ticks, above]

    def _ticks(self, n: int) -> list[float]:
        find = _log_ticks if self.axis.log else _linear_ticks
        found = find(self.low, self.high, n, self.axis.whole)
        slack = 0.0 if self.axis.log else 1e-9 * abs(self.high - self.low)
        return [tick for tick in found if self.low - slack <= tick <= self.high + slack]


def _domain(axis: Axis, values: list[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else ((0.1, 1.0) if axis.log else (0.0, 1.0))
    low = axis.low if axis.low is not None else low
    high = axis.high if axis.high is not None else high
    if axis.zero and not axis.log:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return _spread(axis, low, high)
    pad = 0.04 * (high - low)
    if axis.log:
        return low * 0.9, high * 1.1
    keep_low = axis.low is not None or axis.whole or (axis.zero and low == 0)
    keep_high = axis.high is not None or axis.whole
    return (low if keep_low else low - pad), (high if keep_high else high + pad)


def _spread(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Room around a single value."""
    if axis.log:
        return low / 2, high * 2
    if axis.whole:
        return low - 1, high + 1
    reach = abs(high) * 0.5 or 1.0
    return (low if axis.zero and low == 0 else low - reach), high + reach


def _linear_ticks(low: float, high: float, n: int, whole: bool) -> list[float]:
    rough = (high - low) / max(n, 1)
    base = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(base * m for m in (1, 2, 2.5, 5, 10, 20) if base * m >= rough * (1 - 1e-9))
    if whole:
        step = float(max(1, round(step)))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float, n: int, whole: bool) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**d for d in decades for m in digits]
        inside = [tick for tick in found if low <= tick <= high]
        if len(inside) <= n + 1:
            return inside if len(inside) > 1 else [low * 1.111, high / 1.1]
    return [10.0**d for d in list(decades)[:: 1 + len(decades) // max(n, 1)]]
