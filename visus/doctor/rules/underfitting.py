"""The rule `underfitting`."""

from __future__ import annotations

import math

from visus.doctor.progress import chance, end, floor, learned, long_enough, plain, plateau
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("loss", "trials", "updates"),
      because=("init-symmetric", "init-too-small", "init-too-large", "parameter-not-updated", "parameter-without-gradient",
               "activation-saturated", "relu-dead", "gradient-vanishing", "learning-rate-too-small", "learning-rate-too-large",
               "input-not-normalized", "loss-mismatch", "label-invalid", "output-range", "not-shuffled", "gradient-not-zeroed",
               "regularization-too-strong", "loss-not-finite", "gradient-exploding", "label-noise", "activation-not-zero-centered", "loss-oscillating"))  # fmt: skip
def underfitting(s: Signals) -> Finding | None:
    """The network cannot fit even the data it is trained on.

    What: the training error stays high, the loss no longer falls, the network, freed of
    dropout and jitter, cannot learn one batch of 32 samples by heart either, and a plain
    network with 128 hidden units does better on samples it has not seen.
    Why: it has too little capacity (too narrow, too shallow, no non-linearity), or its input
    does not hold the answer.
    How: the loss of recorded training batches in eval mode; experiments: 80 steps of Adam on
    one batch on a copy; the plain network trained on two thirds of the recorded batches.
    Cure: more units or layers, less regularization, better features.
    Not: where 24 steps on a copy reach a loss a fifth lower, the layers can do more;
    a loss that is still falling is only unfinished; a loss that rests at the noise of the
    data is all there is to learn.
    Source: the lecture's table of symptoms; Goodfellow et al. 2016, section 5.2.
    """
    if not plain(s) or not long_enough(s) or learned(s) > 0.6 or not plateau(s):
        return None
    first, last = s.last("trial", "batch_first"), s.last("trial", "batch_last")
    least = floor(s)
    if _reached(s) < 0.8 * end(s):
        return None  # these very layers came further in some steps on a copy
    if not last - least > 0.6 * (first - least) or not rival_wins(s):
        return None
    return finding(
        "warning", 0.75, "network", s.steps,
        f"The training loss rests at {end(s):.3g} (chance level {chance(s):.3g}), and 80 steps on one batch of 32 samples only "
        f"lower it from {first:.3g} to {last:.3g}: the network cannot hold the task.",
        ["use more units or layers, with non-linear activations", "lower weight decay and dropout"],
        training_loss=s.last("final", "train_loss"), training_error=s.last("final", "train_error"), chance=chance(s),
        one_batch_first=first, one_batch_last=last, parameters=s.facts.get("size", 0),
        own_error=s.last("trial", "own_error"), rival_error=s.last("trial", "rival_error"),
    )  # fmt: skip


def _reached(s: Signals) -> float:
    """The least loss on batches held out after the first steps at this rate or another, on a copy."""
    found = [s.last("trial", f"rate x{f:g}") for f in (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)]
    return min((value for value in found if math.isfinite(value)), default=math.inf)


def straight(s: Signals) -> bool:
    """True when no activation lies between the weight layers: the network is one linear map."""
    return len(s.layers) > 1 and not any(layer["act"] for layer in s.layers[:-1])


def rival_wins(s: Signals) -> bool:
    # By two standard errors; where no rival could be trained, nothing speaks against it.
    own, rival, n = (s.last("trial", q) for q in ("own_error", "rival_error", "rival_n"))
    if not math.isfinite(own) or not math.isfinite(rival):
        return s.facts.get("task") in ("classification", "binary", "regression")
    if s.facts.get("task") == "regression":
        return rival < 0.8 * own
    return own - rival > 2 * math.sqrt((own * (1 - own) + rival * (1 - rival) + 1e-3) / n)
