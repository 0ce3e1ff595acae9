"""The rule `loss-oscillating`."""

from __future__ import annotations

import math

from visus.doctor.progress import learned, long_enough, losses, plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "trials", "steps"),
      because=("learning-rate-too-large", "not-shuffled", "norm-batch-too-small", "gradient-not-zeroed", "gradient-exploding",
               "init-too-large", "input-not-normalized", "label-invalid", "loss-mismatch"))  # fmt: skip
def loss_oscillating(s: Signals) -> Finding | None:
    """The loss swings up and down more than the batches explain.

    What: the loss differs from its own running median by half of its size or more, and a step
    raises the loss of its own batch in most tests.
    Why: steps overshoot the valley and climb the other side; progress along it is lost.
    How: residual from a running median of nine steps, and the loss of a batch before and after
    its own update, tested on a copy while the program runs.
    Cure: a lower learning rate or momentum, a larger batch, shuffled data, clipping.
    Not: swings from small or hard batches alone: a step then still lowers its own batch's loss.
    Source: the lecture's zig-zag; Cohen et al. 2021, Gradient descent at the edge of stability.
    """
    values = [v for v in losses(s) if math.isfinite(v)]
    if not long_enough(s) or not plain(s):
        return None
    tail = values[len(values) // 3 :]
    smooth = [median(tail[max(i - 4, 0) : i + 5]) for i in range(len(tail))]
    swing = median(abs(v - m) for v, m in zip(tail, smooth, strict=True)) / max(median(tail), 1e-9)
    tests = list(zip(s.values("step", "before"), s.values("step", "after"), strict=False))
    worse = sum(b > a for a, b in tests) / max(len(tests), 1)
    if swing < 0.3 or worse < 0.4 or len(tests) < 4 or learned(s) > 0.8:
        return None
    return finding(
        "warning", 0.7, "loss", len(values) // 3,
        f"The loss swings by {swing:.0%} of its size from step to step, and {worse:.0%} of the tested steps raised the "
        "loss of their own batch.",
        ["lower the learning rate or the momentum", "use larger batches, shuffle the data"],
        swing=swing, steps_uphill=worse,
    )  # fmt: skip
