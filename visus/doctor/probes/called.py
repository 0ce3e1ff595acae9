"""Are experiments called for, after the program ended?"""

from __future__ import annotations

import math
from typing import Any

from visus.doctor.progress import (
    chance,
    driven,
    idle,
    learned,
    long_enough,
    plateau,
    rested,
    untaught,
)
from visus.doctor.rules import rules
from visus.doctor.signals import median


def needs_trials(s: Any) -> bool:
    """True where the loss ended above 70 % of where it began, or is not a number.

    Not where it still falls and a fifth of the way is behind it: that is only unfinished. But
    wherever long steps drove the weights up, a schedule ended early, or the weights all but stood
    still, and much was left to learn.
    """
    values = s.values("loss", "value")
    if len(values) < 8:
        return False
    begin = min(v for v in (median(values[:3]), chance(s) or math.inf, math.inf) if v == v)
    tail = values[-max(len(values) // 10, 5) :]
    if not all(map(math.isfinite, tail)):
        return True
    if idle(s) or (learned(s) < 0.6 and (driven(s) or rested(s))):
        return True
    # A loss that is a sum is not on the scale of chance level; what is learned says it then.
    return median(tail) > 0.7 * begin and learned(s) < 0.7 and (plateau(s) or learned(s) < 0.2)


# The rules that read experiments ("trial").
READERS = ("learning-rate-too-small", "learning-rate-too-large", "label-noise", "underfitting")


def explained(found: list[dict[str, Any]]) -> bool:
    """Is a cause found, without experiments, for all that experiments could find?

    Whatever they say would stand below it, as its consequence, or not be said.
    """
    sure = {f["id"] for f in found if f["severity"] != "info" and f["confidence"] >= 0.8}
    return bool(sure) and all(
        sure & {name, *rules[name].because, *rules[name].unless} for name in READERS
    )


def asks_held_out(s: Any) -> bool:
    """Can what 120 steps of Adam teach about batches held out still change a finding?

    Wrong labels are suspected where next to nothing is learned from 2000 samples; steps that were too
    short, or a schedule that ended too early, where the weights hardly moved; steps that were too
    long where they drove the weights up.
    """
    rates, score = s.values("optimizer", "rate"), learned(s)
    seen = s.steps * s.median("batch", "size", 0)
    ended = bool(rates) and min(rates) < 1e-3 * max(rates)
    return (score < 0.3 and (ended or seen >= 2000)) or (score < 0.6 and (driven(s) or rested(s)))


def asks_thaw(s: Any) -> bool:
    """Do layers stay at random weights, in a network that could have learned more?"""
    return bool(untaught(s)) and long_enough(s) and learned(s) < 0.65
