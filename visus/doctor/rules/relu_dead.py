"""The rule `relu-dead`."""

from __future__ import annotations

from visus.doctor.progress import learned, long_enough, plateau
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("layers", "loss", "trials"),
      because=("learning-rate-too-large", "input-not-normalized", "init-symmetric", "init-too-large", "init-too-small",
               "loss-not-finite", "regularization-too-strong", "gradient-not-zeroed"))  # fmt: skip
def relu_dead(s: Signals) -> Finding | None:
    """Most ReLU units of a layer answer zero to every sample.

    What: more than half of the units (channels) gave no positive value in any of the last
    recorded batches, at least 64 samples.
    Why: the gradient of a unit that is off for all samples is zero: it never comes back.
    How: for each unit, whether it was ever positive in the last four recorded batches.
    Cure: a smaller learning rate, biases that start at zero, He initialization, LeakyReLU, or
    normalization in front of the activation.
    Not: sparse responses are fine: a unit counts as dead only when no sample at all wakes it; up to
    three quarters of such units are a remark, all positive inputs alone can cause that. So are more
    where the living ones learn well; less is asked of those that training silenced than of a
    layer that was silent before its first step.
    Source: Maas, Hannun, Ng 2013, Rectifier nonlinearities; Lu et al. 2019, Dying ReLU.
    """
    shares = {
        layer["place"]: s.last(layer["place"], "dead", 0.0)
        for layer in s.layers
        if layer["units"] >= 4 and s.last(layer["place"], "dead_samples", 0) >= 64
    }
    worst = max(shares, key=lambda p: shares[p], default=None)
    if worst is None or shares[worst] < 0.5:
        return None
    points = s.series(worst, "dead")
    # By the living units. What was dead before the first step no training has silenced: there the
    # few that live must do well.
    born = points[0][0] == 0 and points[0][1] > 0.85
    carried = learned(s) > (0.8 if born else 0.5) or (
        not born and learned(s) > 0.2 and not plateau(s)
    )
    fine = shares[worst] < 0.75 or (long_enough(s) and carried and shares[worst] < 0.95)
    return finding(
        "info" if fine else "error" if shares[worst] > 0.9 else "warning", 0.9, worst,
        next(step for step, v in points if v > 0.4),
        f"{shares[worst]:.0%} of the units of {worst} answered zero to every sample of the last recorded batches "
        f"({points[0][1]:.0%} at the first step): they can no longer learn.",
        ["lower the learning rate", "start biases at zero and weights with kaiming_normal_",
         "use LeakyReLU, or a normalization layer in front of the ReLU"],
        dead=shares[worst], at_first_step=points[0][1], layers=sum(v > 0.5 for v in shares.values()),
    )  # fmt: skip
