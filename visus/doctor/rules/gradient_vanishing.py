"""The rule `gradient-vanishing`."""

from __future__ import annotations

from visus.doctor.progress import learned, long_enough
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("updates", "layers", "loss", "trials"),
      because=("init-symmetric", "init-too-small", "activation-saturated", "relu-dead", "input-not-normalized",
               "init-too-large", "learning-rate-too-large", "loss-not-finite", "parameter-without-gradient",
               "loss-mismatch", "regularization-too-strong", "output-range", "mode-wrong"))  # fmt: skip
def gradient_vanishing(s: Signals) -> Finding | None:
    """The gradient all but disappears on its way back to the first layers.

    What: the weights of a first layer (or those through which a recurrent layer reads its
    sequence) receive less than a thousandth of the gradient (root mean square) of the last layer; a
    hundredth, where there are eight layers or more and nothing at all is learned.
    Why: the first layers stay at their random start while the last ones do what they can.
    How: the ratio of the two at each recorded step; the median.
    Cure: ReLU in place of sigmoid or tanh, He initialization, normalization layers, residual
    connections; fewer layers; for sequences LSTM or GRU, and the state behind the last true step.
    Not: where the network learns well in spite of it (an optimizer that scales each weight's gradient makes up
    for small ones) it is a remark only.
    Source: Hochreiter 1991; Bengio, Simard, Frasconi 1994; Glorot, Bengio 2010.
    """
    # One weight a unit in front of a norm has no gradient by right: the norm undoes its scale.
    places = [
        layer["place"] for layer in s.layers
        if s.values(layer["place"], "gradient") and not (layer["fan_in"] == 1 and layer["norm"])
    ]  # fmt: skip
    # What goes through many time steps is deep as well: its input weights come first.
    recurrent = [place for place in s.places("gradient") if "weight_ih" in place]
    if not places or len(places) + 2 * len(recurrent) < 3:
        return None
    last = s.values(places[-1], "gradient")
    ratios = {
        place: median(
            a / b for a, b in zip(s.values(place, "gradient"), last, strict=False) if b > 0
        )
        for place in [*places[: len(places) // 2], *recurrent]
    }
    worst = min(ratios, key=lambda p: ratios[p] if ratios[p] == ratios[p] else 1.0)
    score = learned(s) if long_enough(s) else 0.5
    # A tenfold loss every few layers is much where nothing at all is learned of it.
    least = 1e-2 if len(places) >= 8 and score < 0.05 else 1e-3
    if not ratios[worst] < least:
        return None
    return finding(
        "error" if score < 0.15 else "warning" if score < 0.85 else "info", 0.85, worst, 0,
        f"The gradient at {worst} is {ratios[worst]:.1g} of that at {places[-1]}, "
        + ("at the other end of the time steps: what came first is hardly learned from." if worst in recurrent
           else f"{len(places)} layers on: the first layers hardly learn."),
        ["use ReLU and kaiming_normal_ initialization", "add normalization layers or residual connections"],
        ratio=ratios[worst], depth=len(places), gradient_last=median(last),
    )  # fmt: skip
