"""The rule `not-shuffled`."""

from __future__ import annotations

from visus.doctor.progress import learned, long_enough, plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("labels", "loss", "trials"))
def not_shuffled(s: Signals) -> Finding | None:
    """Batches follow the order of the data: each holds few classes, or a narrow range of targets.

    What: the mixture of labels changes from batch to batch far more than random draws would.
    Why: each step then learns the class at hand and forgets the others; gradients of successive
    steps point in different directions, and batch statistics describe one class.
    How: heterogeneity of the label counts of batches (chi-square by degree of freedom, 1 for
    random batches); for numbers the variance of batch means against that of random batches.
    Cure: `DataLoader(..., shuffle=True)`, or a new random permutation each epoch.
    Not: several losses with constant labels, as in a GAN, are left out.
    Source: Bottou 2012, Stochastic gradient descent tricks; the lecture's "bad division".
    """
    if not plain(s):
        return None
    mixing, top = s.facts.get("batch_mixing", 0.0), s.facts.get("batch_top_share", 0.0)
    usual = s.facts.get("majority", 1.0)
    target = s.facts.get("target_mixing", 0.0)
    sorted_classes = mixing > 3 and top > usual + 0.5 * (1 - usual) * 0.6
    # Targets that drift (a teacher that learns) vary too, but each batch holds most of the range.
    if not sorted_classes and (target < 6 or s.facts.get("target_between", 1.0) < 0.25):
        return None
    bad = long_enough(s) and learned(s) < 0.3
    if sorted_classes:
        text = f"A batch holds {top:.0%} of one class on average, where random batches would hold about {usual:.0%}."
    else:
        text = f"The mean target of a batch varies {target:.0f} times as much as in random batches."
    return finding(
        "error" if bad else "warning", 0.95, "data order", 0, text,
        ["shuffle the training data anew in each epoch: DataLoader(..., shuffle=True)"],
        heterogeneity=max(mixing, target), top_share=top, majority=usual if sorted_classes else 0.0,
    )  # fmt: skip
