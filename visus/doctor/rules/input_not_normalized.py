"""The rule `input-not-normalized`."""

from __future__ import annotations

from visus.doctor.progress import learned, long_enough
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals

FAINT = 0.03  # of the root mean square: pictures and standardized tables are above 0.3


@rule(asks=("layers", "loss", "trials"))
def input_not_normalized(s: Signals) -> Finding | None:
    """The numbers that reach the first layer are far from unit size, or hardly vary.

    What: initial weights are drawn for inputs of about mean 0 and variance 1. Raw pixels (0 to
    255) make every first response a hundred times too large; inputs of 0.001 make it vanish. Inputs
    with a large common part (normalized with the numbers of another scale) are all the same to it.
    Why: large inputs saturate activations, spread the curvature over many orders of magnitude
    (no one learning rate suits all weights) and blow up the first gradients.
    How: the root mean square of the input of the first weight layer, and of its single
    features, where a network that scales its own input is credited for it; and what part of it
    differs from sample to sample.
    Cure: subtract the mean and divide by the standard deviation of the training set, by channel.
    Not: inputs in [0, 1] are fine. Where batch normalization follows the first layer the scale
    cancels; the finding is then a remark (info).
    Source: LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp, section 4.3.
    """
    rms, top, usual = (s.median("input", q) for q in ("rms", "unit_max", "unit_median"))
    large = rms > 4 or (top > 10 and top > 30 * usual)
    small, varies = rms < 0.02, s.median("input", "std", rms)
    faint = varies < FAINT * rms
    if not (large or small or faint) or not s.layers:
        return None
    cancels = bool(s.layers[0]["norm"])
    harmed = long_enough(s) and learned(s) < 0.3
    severity = "info" if cancels else "error" if harmed and (rms > 20 or faint) else "warning"
    size = f"a root mean square of {rms:.3g} (largest feature {top:.3g}) where initial weights expect about 1"
    common = (
        f"a root mean square of {rms:.3g}, of which only {varies:.2g} differs from sample to sample"
    )
    return finding(
        severity, 0.6 if cancels else 0.9, f"input of {s.layers[0]['place']}", 0,
        f"The input has {size if large or small else common}"
        + ("; the normalization after the first layer makes up for it." if cancels else "."),
        ["subtract the mean and divide by the standard deviation of the training set, by channel or feature"],
        rms=rms, lowest=s.median("input", "min"), highest=s.median("input", "max"), largest_feature=top, varies=varies,
    )  # fmt: skip
