"""The rule `init-too-large`."""

from __future__ import annotations

from visus.doctor.progress import begin, chance, diverged, learned, long_enough
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("updates", "layers", "loss", "trials"))
def init_too_large(s: Signals) -> Finding | None:
    """The first weights are so large that responses grow from layer to layer.

    What: root mean square of the weights times the square root of the fan-in above 4 (He has
    1.4), in a layer that no normalization follows.
    Why: sigmoids and tanh start saturated, ReLU networks start with huge, confident, wrong
    answers: the first loss lies far above chance and the first steps are wasted or diverge.
    How: the scale of each layer at the first step; the first loss against ln C.
    Cure: He initialization for ReLU, Xavier for tanh, or a normalization layer.
    Not: in front of a normalization layer the scale of the weights cancels.
    Source: Glorot, Bengio 2010; He, Zhang, Ren, Sun 2015, section 2.2.
    """
    strong = [
        layer["place"] for layer in s.layers
        if not layer["norm"] and "transpose" not in layer["kind"]
        and s.first(layer["place"], "scale") > 4
    ]  # fmt: skip
    first, base = begin(s), chance(s)
    inner = [place for place in strong if place != s.layers[-1]["place"]]
    if not inner and not (strong and first > 3 * base):
        return None
    scale = max(s.first(place, "scale") for place in strong)
    bad = diverged(s) or (long_enough(s) and learned(s) < 0.15)
    return finding(
        "error" if bad else "warning", 0.9, ", ".join(strong[:4]), 0,
        f"The weights of {strong[0]} began at {scale:.3g} in units of 1/sqrt(fan-in) (He 1.4, PyTorch 0.58); "
        f"the first loss was {first:.3g}, chance level is {base:.3g}.",
        ["initialize with torch.nn.init.kaiming_normal_ (ReLU) or xavier_normal_ (tanh)",
         "or put a normalization layer after each of these layers"],
        scale=scale, layers=len(strong), first_loss=first, chance=base,
    )  # fmt: skip
