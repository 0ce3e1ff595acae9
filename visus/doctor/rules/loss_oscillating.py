"""The rule `loss-oscillating`."""

from __future__ import annotations

import math

from visus.doctor.progress import chance, learned, losses, plain, relapse
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "trials", "steps", "updates"),
      because=("learning-rate-too-large", "not-shuffled", "norm-batch-too-small", "gradient-not-zeroed", "gradient-exploding",
               "init-too-large", "input-not-normalized", "label-invalid", "loss-mismatch", "class-imbalance",
               "gradient-vanishing"))  # fmt: skip
def loss_oscillating(s: Signals) -> Finding | None:
    """The loss swings up and down instead of falling.

    What: three times or more the smoothed loss rises by 0.3 of its chance level and falls
    again, while the task is not learned; or it came below 0.6 of chance level and is above half of it,
    and 1.4 times its best tenth, in the last tenth of the steps.
    Why: steps overshoot the valley and climb the other side; with much momentum the weights
    swing through it for many steps. Progress along the valley is lost.
    How: turning points of the running median of the training loss (nine steps, more where
    batches are small, so that a window holds 128 samples).
    Cure: a lower learning rate or momentum, a larger batch, shuffled data, clipping.
    Not: noise of small or hard batches, which the running median takes away; single bumps; weights
    that moved by less than 2 %.
    Source: the lecture's zig-zag; Goh 2017, Why momentum really works.
    """
    values = [v for v in losses(s) if math.isfinite(v)]
    level = chance(s)
    if len(values) < 40 or not plain(s) or not level > 0:
        return None
    if s.last("optimizer", "travel", 1.0) < 0.02:
        return None  # weights that rest swing nothing
    wide = max(4, int(64 / s.median("batch", "size", 16)))  # about 128 samples in a window
    smooth = [median(values[max(i - wide, 0) : i + wide + 1]) for i in range(len(values))]
    noise = median(abs(v - m) for v, m in zip(values, smooth, strict=True))
    swings = turns(smooth, max(0.3 * level, 2.5 * noise))
    best, last = relapse(s)
    if (swings < 3 and last != last) or learned(s) > 0.5:  # it falls, however it swings
        return None
    tests = list(zip(s.values("step", "before"), s.values("step", "after"), strict=False))
    momentum = next((o["momentum"] for o in s.facts.get("optimizers", [])), 0.0)
    return finding(
        "warning", 0.75, "loss", 0,
        f"The smoothed loss rose and fell {swings} times by more than 0.3 of its chance level ({level:.3g}) in {len(values)} steps."
        if swings >= 3 else f"The loss had come down to {best:.3g} and is {last:.3g} in the end (chance level {level:.3g}): what was learned is lost again.",
        ["lower the learning rate or the momentum", "use larger batches, shuffle the data"],
        swings=swings, chance=level, momentum=momentum,
        steps_uphill=sum(b > a for a, b in tests) / max(len(tests), 1),
    )  # fmt: skip


def turns(values: list[float], size: float) -> int:
    """How often a series rises by `size` above its last low and falls by `size` again."""
    count, low, high, rising = 0, values[0], values[0], False
    for value in values:
        low, high = min(low, value), max(high, value)
        if not rising and value > low + size:
            rising, high = True, value
        elif rising and value < high - size:
            rising, low, count = False, value, count + 1
    return count
