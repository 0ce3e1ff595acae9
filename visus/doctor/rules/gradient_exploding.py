"""The rule `gradient-exploding`."""

from __future__ import annotations

import math

from visus.doctor.progress import broken, diverged, learned, long_enough
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("updates", "layers", "loss", "trials"),
      because=("init-too-large", "input-not-normalized", "loss-mismatch", "label-invalid", "output-range", "norm-batch-too-small"))  # fmt: skip
def gradient_exploding(s: Signals) -> Finding | None:
    """The gradient is many times larger than the weights it is to change, from the start.

    What: before any learning, the gradient of a layer is over 50 times the size of its weights,
    or grows a thousandfold from the last layer to the first.
    Why: no ordinary learning rate fits: one step throws the weights away, and the next
    gradients are larger still.
    How: norm of gradient over norm of weights by layer, at the first step, before the
    learning rate can be the reason.
    Cure: normalize inputs and regression targets, He or Xavier initialization, normalization
    layers, clip the gradient norm (torch.nn.utils.clip_grad_norm_).
    Not: growth that sets in later is the learning rate's doing and is named there; with an
    optimizer that divides by the gradient's size, a network that learns is left alone.
    Source: Pascanu, Mikolov, Bengio 2013, On the difficulty of training recurrent networks.
    """
    early = {
        place: max((v for step, v in s.series(place, "gradient_ratio") if step == 0), default=0.0)
        for place in s.places("gradient_ratio")  # recurrent weights too
    }
    if not early:
        return None
    worst = max(early, key=lambda p: early[p])
    places = [layer["place"] for layer in s.layers if s.values(layer["place"], "gradient")]
    growth = 1.0
    if len(places) >= 3 and s.first(places[-1], "gradient") > 0:
        growth = s.first(places[0], "gradient") / s.first(places[-1], "gradient")
    size = early[worst]
    if not math.isfinite(size):  # a loss that is not finite from the start is named as such
        return None
    if size < 50 and growth < 1e3:
        return None
    bad = diverged(s) or broken(s) or (long_enough(s) and learned(s) < 0.15)
    target = s.median("target", "rms", 0.0)
    tall = s.facts.get("task") == "regression" and target > 30
    return finding(
        "error" if bad else "warning" if not long_enough(s) or learned(s) < 0.6 else "info", 0.85, worst, 0,
        f"Before any learning the gradient at {worst} is {size:.3g} times as large as the weights"
        + (f"; the targets have a root mean square of {target:.3g}." if tall else "."),
        [*(["divide the targets by their standard deviation"] if tall else []),
         "clip the gradient norm: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
         "initialize with kaiming_normal_ or xavier_normal_; add normalization layers"],
        gradient_over_weight=size, growth=growth, target_rms=target,
    )  # fmt: skip
