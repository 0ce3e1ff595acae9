"""The rule `overfitting`."""

from __future__ import annotations

import math

from visus.doctor.progress import guess_error, plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(
    asks=("loss", "trials", "views"),
    because=("label-noise", "norm-train-test-gap", "mode-wrong", "not-shuffled", "loss-not-finite"),
)
def overfitting(s: Signals) -> Finding | None:
    """The network has learned its training samples, not the task.

    What: in eval mode the error on validation batches is several times that on training batches, or
    a quarter of all samples higher, and the validation loss has risen well above its lowest value;
    or it is two fifths of all samples higher, and four times as high or all but that of a guess.
    Why: there is more capacity than the samples can fix; what is learned last is noise.
    How: the last recorded training and validation batches, played on a copy in eval mode; the
    difference in standard errors; the course of the validation loss.
    Cure: more data or jitter, weight decay, dropout, fewer units, stop at the lowest
    validation loss.
    Not: a small gap, or one epoch of rising loss, is no finding; training loss with dropout and
    jitter on is never compared.
    Source: Prechelt 1998, Early stopping - but when?; the lecture's table of symptoms.
    """
    train, val = s.last("final", "train_error"), s.last("final", "validation_error")
    n_train, n_val = s.last("final", "train_n"), s.last("final", "validation_n")
    course = _course(s)
    if not plain(s) or not math.isfinite(train) or not math.isfinite(val) or n_val < 20:
        return None
    course = [v for v in (*course, s.last("final", "validation_loss")) if math.isfinite(v)] or [1.0]
    rise = course[-1] / max(min(course), 1e-9)
    if s.facts.get("task") in ("classification", "binary"):
        error = math.sqrt((val * (1 - val) + 1e-3) / n_val + (train * (1 - train) + 1e-3) / n_train)
        sure = (val - train) / error
        wide = val > 3 * train and val - train > 0.08 and sure > 4
        # Still at its lowest, the validation loss speaks against an early stop: only data are few.
        known = train < 0.02 and val - train > 0.25 and (rise > 1.05 or len(course) < 4)
        # Not yet by heart, but a quarter of the answers apart, and the loss rises.
        apart = val - train > 0.25 and sure > 4
        # Most of what it does right on training batches, beyond a guess, is lost on others.
        guess = guess_error(s)
        lost = val > 4 * train or guess - val < 0.25 * (guess - train) > 0
        lost = lost and val - train > 0.4 and sure > 4
        found = lost or (wide and known) or ((wide or apart) and rise > 1.15)
    else:
        sure, wide = val / max(train, 1e-12), val > 4 * train
        # In variances of the targets: every sample known by heart, and little of new ones.
        spread = s.median("target", "std", 0.0) ** 2
        known = train < 0.03 * spread and val > 0.3 * spread and n_val >= 100
        found = wide and (known or (len(course) > 2 and rise > 1.2))
    if not found:
        return None
    return finding(
        "warning", 0.9 if rise > 1.15 else 0.75, "network", s.steps,
        f"In eval mode the error is {train:.3g} on training batches and {val:.3g} on validation batches; the validation loss "
        f"stands at {rise:.2g} times its lowest value.",
        ["use more training data or stronger jitter", "add weight decay or dropout, or use a smaller network",
         "stop where the validation loss is lowest"],
        training_error=train, validation_error=val, loss_rise=rise, standard_errors=sure,
    )  # fmt: skip


def _course(s: Signals) -> list[float]:
    """The validation loss by evaluation, of the samples that are played again at the end.

    Evaluations of which only a small part was seen are left out: other samples, another loss.
    """
    n = dict(s.series("validation", "n"))
    whole = max(n.values(), default=0)
    return [v for step, v in s.series("validation", "head") if n.get(step, whole) > 0.6 * whole]
