"""The rule `activation-saturated`."""

from __future__ import annotations

from visus.doctor.progress import half, hidden, learned, long_enough, plateau
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("layers", "loss", "trials"),
      because=("input-not-normalized", "init-too-large", "init-too-small", "learning-rate-too-large", "gradient-exploding"))  # fmt: skip
def activation_saturated(s: Signals) -> Finding | None:
    """Most responses of a hidden sigmoid or tanh layer lie on its flat ends.

    What: more than 60 % of the values are within 1 % of the activation's limits.
    Why: the derivative there is below 4 % of its maximum: hardly any gradient passes, and the
    units behave like switches that can no longer be thrown.
    How: the share of such values in each hidden layer, on recorded batches; the median of the
    later half of the watch.
    Cure: normalize the inputs, smaller initial weights (Xavier), a smaller learning rate, batch
    normalization before the activation, or ReLU.
    Not: the output layer may saturate when it is right; gates of recurrent cells may be closed. A
    network that learned well in spite of it, or that training drove there and whose loss still falls,
    gets a remark.
    Source: LeCun et al. 1998, Efficient BackProp; Glorot, Bengio 2010, section 3.
    """
    shares = {
        layer["place"]: median(half(s.values(layer["place"], "saturated")), 0.0)
        for layer in hidden(s)
        if s.values(layer["place"], "saturated")
    }
    worst = max(shares, key=lambda p: shares[p], default=None)
    if worst is None or shares[worst] < 0.6:
        return None
    points = s.series(worst, "saturated")
    # What training drove there, and learns on for all that, is left alone.
    on = points[0][1] < 0.5 and learned(s) > 0.2 and not plateau(s)
    good = long_enough(s) and (learned(s) > 0.9 or on)
    return finding(
        "info" if good else "error" if shares[worst] > 0.95 else "warning", 0.9, worst,
        next(step for step, v in points if v > 0.5),
        f"{shares[worst]:.0%} of the responses after {worst} lie on the flat ends of the activation "
        f"({points[0][1]:.0%} at the first step).",
        ["normalize the inputs and initialize with xavier_normal_",
         "put batch normalization in front of the activation, or use ReLU"],
        saturated=shares[worst], at_first_step=points[0][1],
        layers=sum(v > 0.6 for v in shares.values()),
    )  # fmt: skip
