"""The rule `gradient-not-zeroed`."""

from __future__ import annotations

from visus.doctor.progress import learned, long_enough
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, mean


@rule(asks=("updates", "loss"))
def gradient_not_zeroed(s: Signals) -> Finding | None:
    """Gradients of earlier steps are never cleared and add up.

    What: when backward begins after a step, the gradients of the step before are still there.
    Why: backward adds to `.grad`; each step then follows the sum of all gradients since the
    start, of weights that are long gone.
    How: a small parameter of each optimizer is looked at whenever backward begins; one clean
    look between two steps is enough.
    Cure: optimizer.zero_grad() once a step, before backward.
    Not: accumulation over several batches clears once before each step and is silent.
    Source: PyTorch tutorial, Zeroing out gradients.
    """
    place = max(s.places("stale"), key=lambda p: mean(s.values(p, "stale")), default="optimizer")
    stale = s.values(place, "stale")
    if len(stale) < 4 or mean(stale) < 0.8:
        return None
    bad = not long_enough(s) or learned(s) < 0.5
    return finding(
        "error" if bad else "warning", 0.97, place, 1,
        f"In {mean(stale):.0%} of the steps backward added to the gradients of earlier steps: nothing clears them.",
        ["call optimizer.zero_grad() once a step, before backward"],
        stale_share=mean(stale), gradient_first=s.first(place, "gradient"),
        gradient_last=s.last(place, "gradient"),
    )  # fmt: skip
