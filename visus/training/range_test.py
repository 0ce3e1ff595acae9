"""The learning-rate range test: how fast may this network learn? (Smith 2017, section 3.3)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import torch

from visus.errors import NotFiniteError
from visus.training.state import State, undisturbed
from visus.training.steps import Batch, steps

COUNT = 60  # rates tried, at most
FAR = 1 << 40  # steps that no training reaches: the test's own batches and draws


@dataclass(frozen=True)
class RangeTest:
    """Rates tried, the smoothed losses they gave, the rate chosen and why."""

    rates: list[float]
    losses: list[float]
    rate: float
    reason: str


def range_test(
    state: State, batch: Batch, usual: float, *, low: float | None = None, high: float | None = None,
    count: int = COUNT, stop: Callable[[], bool] = lambda: False,
) -> RangeTest:  # fmt: skip
    """Train through rates that grow from `low` to `high` and choose one of them for the peak.

    The rates default to `usual` / 1000 ... `usual` * 30. The test ends where the loss is over four
    times its start, or not finite, or `stop()` says so. Model, norm statistics, optimizer,
    gradients, generators and the order of the data are byte for byte as before. The chosen rate
    always lies within [low, high].
    """
    low, high = low or usual / 1000, high or usual * 30
    growth = (high / low) ** (1 / max(1, count - 1))
    rates = [low * growth**i for i in range(count)]
    losses: list[float] = []
    with undisturbed(state):
        state.model.train()
        state.step = begin = FAR
        late = False
        try:
            for step in steps(state, batch, lambda at: rates[at - begin]):
                losses.append(step.loss)
                late = len(losses) < count and stop()
                if len(losses) == count or late or _exploded(losses):
                    break
        except NotFiniteError:
            pass
    rate, reason = _unseen(rates, losses, usual) if late else choose(rates, losses, usual)
    return RangeTest(rates[: len(losses)], smooth(losses), rate, reason)


def _unseen(rates: Sequence[float], losses: Sequence[float], usual: float) -> tuple[float, str]:
    """The rate where time ran out before the loss could explode: what was not seen is no evidence."""
    inside = min(max(usual, rates[0]), rates[-1])
    seen = f"time for {len(losses)} of {len(rates)} rates alone, none too large"
    return inside, f"{seen}: the usual rate of the optimizer"


def choose(rates: Sequence[float], losses: Sequence[float], usual: float) -> tuple[float, str]:
    """The peak rate and the reason, from the losses seen at the first `len(losses)` of `rates`.

    The edge is where the smoothed loss, past its lowest point, is back at its start (or where
    the test ended early): training falls apart there. The usual rate of the optimizer is taken
    where it lies below half the edge and above a thirtieth of the rate where the loss was
    lowest, else the nearer end of this range.
    """
    inside = min(max(usual, rates[0]), rates[-1])
    curve = smooth(losses)
    if len(curve) < 5:
        return rates[0], f"the loss exploded after {len(curve)} steps: the lowest rate tried"
    lowest = min(range(len(curve)), key=curve.__getitem__)
    fall = (curve[0] - curve[lowest]) / max(abs(curve[0]), 1e-12)
    if fall < max(0.02, 2 * _noise(losses) / len(losses) ** 0.5):
        return _flat(rates, losses, inside)
    edge = _edge(rates, curve, lowest)
    top = max(edge / 2, rates[0])
    rate = min(max(inside, rates[lowest] / 30), top)
    where = f"loss lowest at {rates[lowest]:.2g}, back at its start at {edge:.2g}"
    if rate < inside:
        return rate, f"{where}: half of that, below the usual {usual:.2g}"
    if rate > inside:
        return rate, f"{where}: a thirtieth of the lowest, above the usual {usual:.2g}"
    return rate, f"{where}: the usual rate {rate:.2g} suits it"


def _edge(rates: Sequence[float], curve: Sequence[float], lowest: int) -> float:
    after = (i for i in range(lowest + 1, len(curve)) if curve[i] > curve[0])
    return rates[next(after, len(curve) - 1)]


def _flat(rates: Sequence[float], losses: Sequence[float], inside: float) -> tuple[float, str]:
    if len(losses) == len(rates):
        return inside, "the loss hardly moved: the usual rate of the optimizer"
    rate = max(rates[0], min(inside, rates[len(losses) - 1] / 10))
    return rate, "the loss never fell, then exploded: a tenth of that rate"


def smooth(losses: Sequence[float], decay: float = 0.8) -> list[float]:
    """The running average of the losses, its start corrected; what is not finite is left out."""
    average, curve = 0.0, []
    for n, loss in enumerate((x for x in losses if isfinite(x)), 1):
        average = decay * average + (1 - decay) * loss
        curve.append(average / (1 - decay**n))
    return curve


def _noise(losses: Sequence[float]) -> float:
    """Relative spread of the loss from one step to the next over the first, slow third."""
    first = torch.tensor(losses[: max(4, len(losses) // 3)], dtype=torch.float64)
    spread = float(first.diff().abs().median())
    return spread / max(float(first.abs().mean()), 1e-12)


def _exploded(losses: Sequence[float]) -> bool:
    return smooth(losses[-3:])[-1] > 4 * smooth(losses[:5])[-1] + 0.5
