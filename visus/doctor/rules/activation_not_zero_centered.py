"""The rule `activation-not-zero-centered`."""

from __future__ import annotations

from visus.doctor.progress import hidden, learned, long_enough, plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("layers", "loss", "trials"), because=("activation-saturated", "gradient-vanishing"))
def activation_not_zero_centered(s: Signals) -> Finding | None:
    """Hidden layers pass on values that are all positive, as the sigmoid does.

    What: the mean of a hidden sigmoid layer is more than twice its standard deviation.
    Why: the gradient of all incoming weights of a unit in the next layer then has one sign: the
    weights can only rise together or fall together, and zig-zag towards the goal.
    How: mean over standard deviation of the responses of hidden sigmoid layers.
    Cure: tanh or ReLU in place of the sigmoid, or batch normalization behind it.
    Not: ReLU is not centered either, but its slope of one makes up for it; a network that learns
    well gets a remark only.
    Source: LeCun et al. 1998, Efficient BackProp, section 4.4; Rojas, Neural Networks.
    """
    off = {
        layer["place"]: s.median(layer["place"], "off_center")
        for layer in hidden(s)
        if layer["act"] in ("sigmoid", "hardsigmoid")
        and s.median(layer["place"], "off_center", 0) > 2
    }
    if not off:
        return None
    worst = max(off, key=lambda p: off[p])
    slow = plain(s) and long_enough(s) and learned(s) < 0.6
    return finding(
        "warning" if slow else "info", 0.7 if len(off) > 1 else 0.55, ", ".join(list(off)[:4]), 0,
        f"The responses after {worst} are all positive: their mean is {off[worst]:.1f} standard deviations from zero.",
        ["use tanh or ReLU in hidden layers", "or put batch normalization behind the sigmoid"],
        mean_over_std=off[worst], layers=len(off),
    )  # fmt: skip
