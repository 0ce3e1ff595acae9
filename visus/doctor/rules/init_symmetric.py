"""The rule `init-symmetric`."""

from __future__ import annotations

from visus.doctor.progress import hidden
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("updates", "layers"))
def init_symmetric(s: Signals) -> Finding | None:
    """All units of a hidden layer began with the same weights.

    What: the rows of the weight matrix (the filters of the convolution) are equal.
    Why: equal units receive equal gradients and stay equal for ever: the layer has one unit,
    however wide it is. With all weights zero no gradient passes at all.
    How: the largest difference between rows over their root mean square, at the first step; for
    layers of zeros also later, because a branch that starts at zero may leave it.
    Zeros behind which a ReLU shuts units for good are named though the others leave.
    Cure: draw the weights at random (He for ReLU, Xavier for tanh); constants are for biases.
    Not: an output layer of zeros, or a residual branch whose last layer starts at zero, learns.
    Source: Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4.
    """
    same = []
    for layer in hidden(s):
        differ = s.values(layer["place"], "rows_differ")
        if layer["units"] < 2 or not differ or differ[0] > 1e-6:
            continue
        zero = s.first(layer["place"], "scale") == 0
        stuck = len(differ) > 2 and max(differ) < 1e-6
        if not zero or stuck or _silent(s, layer):
            same.append(layer["place"])
    if not same:
        return None
    scale = s.first(same[0], "scale")
    left = max(s.values(same[0], "rows_differ")) > 1e-6 and scale == 0  # only some stay behind
    return finding(
        "warning" if left else "error", 0.97, ", ".join(same[:4]), 0,
        f"All units of {same[0]} started with the same weights"
        + (" (zero)" if scale == 0 else "")
        + (f": {s.first(same[0], 'dead'):.0%} of them never answer." if left else " and therefore learn the same thing."),
        ["draw the weights at random: torch.nn.init.kaiming_normal_ for ReLU, xavier_normal_ for tanh"],
        layers=len(same), rows_differ=s.first(same[0], "rows_differ"),
        rows_differ_last=s.last(same[0], "rows_differ"), scale=scale,
    )  # fmt: skip


def _silent(s: Signals, layer: dict) -> bool:
    # Weights of zero leave the bias alone to decide: a ReLU unit with a negative one is dead, the
    # others learn. A residual branch that ends in zeros is added to its input before any ReLU.
    place = layer["place"]
    shares = s.first(place, "dead", 0.0), s.last(place, "dead", 0.0)
    return layer["act"] == "relu" and not layer["norm"] and min(shares) > 0.25
