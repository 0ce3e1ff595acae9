"""The rule `init-too-small`."""

from __future__ import annotations

import math

from visus.doctor.progress import hidden, learned, long_enough
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("updates", "layers", "loss", "trials"), because=("init-symmetric",))
def init_too_small(s: Signals) -> Finding | None:
    """The first weights are so small that the signal dies on its way through the network.

    What: root mean square of the weights times the square root of the fan-in: 1.4 for He, 1 for
    Xavier, 0.58 for PyTorch's default. Here a hidden layer has less than 0.15.
    Why: each such layer shrinks activations forward and gradients backward by that factor;
    all samples look alike to the last layer and the loss rests at chance level.
    How: the scale of each hidden layer at the first step, where no normalization follows, and
    how much of the spread of the inputs is left behind them.
    Cure: He initialization for ReLU, Xavier for tanh, or a normalization layer.
    Not: small weights in the output layer, or anywhere before a normalization layer, do no harm; a
    network that learned well in spite of it gets a remark only. A layer that is shut from the start is
    none of these.
    Source: Glorot, Bengio 2010; He, Zhang, Ren, Sun 2015, section 2.2.
    """
    normed = max((k for k, layer in enumerate(s.layers) if layer["norm"]), default=-1)
    weak = [
        layer["place"] for k, layer in enumerate(hidden(s))
        if k > normed and "transpose" not in layer["kind"]
        and 0 < s.first(layer["place"], "scale") < 0.15 and s.first(layer["place"], "dead", 0.0) < 0.9
    ]  # fmt: skip
    if not weak or any(s.first(layer["place"], "saturated", 0.0) > 0.5 for layer in hidden(s)):
        return None  # what is at the ends of its activation at once is not too small
    # Behind the last layer dropout makes a spread of its own.
    left = min(s.first(place, "spread", math.inf) for place in [*weak, s.layers[-1]["place"]])
    kept = (left if math.isfinite(left) else 0.0) / max(s.first("input", "std", 1.0), 1e-12)
    score = learned(s) if long_enough(s) else 0.5
    severity = "error" if score < 0.15 else "warning" if score < 0.8 or kept < 1e-3 else "info"
    scale = min(s.first(place, "scale") for place in weak)
    return finding(
        severity, 0.9 if kept < 0.01 else 0.7, ", ".join(weak[:4]), 0,
        f"The weights of {weak[0]} began at {scale:.2g} in units of 1/sqrt(fan-in) (He 1.4, PyTorch 0.58): "
        f"{kept:.1g} of the input's spread was left behind them.",
        ["initialize with torch.nn.init.kaiming_normal_ (ReLU) or xavier_normal_ (tanh)",
         "or put a normalization layer after each of these layers"],
        scale=scale, layers=len(weak), signal_kept=kept,
    )  # fmt: skip
