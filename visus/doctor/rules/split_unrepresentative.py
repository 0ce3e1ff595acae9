"""The rule `split-unrepresentative`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals

SURE, APART = 1e-3, 0.53  # p-value; share of images told apart (one half: not at all)


@rule(asks=())
def split_unrepresentative(s: Signals) -> Finding | None:
    """Validation images are of another kind than training images.

    What: a classifier tells validation from training images, or their classes come in other
    shares, far beyond what drawing at random would do.
    Why: every choice (when to stop, which rate, which network) is made on validation; if it
    shows other images, it chooses for other images.
    How: an audit of the data: half of both sets train a classifier to tell them apart, the other
    half judges it (a binomial p-value); classes are compared by chi-squared.
    Cure: draw validation anew from train at random, by class and by group: leave out the column
    split, or the folder, and let `data.validation=0.1` make one. `visus train` does so itself
    where classes come in other shares.
    Not: a validation set meant to be of another kind, such as another hospital or a later year.
    Source: Lopez-Paz, Oquab 2017, Revisiting classifier two-sample tests.
    """
    return drifted(s, "validation", ["data.validation=0.1",
                   "leave the given validation split out, so that one is drawn from train at random"])  # fmt: skip


def drifted(s: Signals, part: str, remedies: list[str]) -> Finding | None:
    """The finding that `part` differs from train in pixels or in classes."""
    p, accuracy = s.last(part, "drift_p", 1.0), s.last(part, "drift_accuracy", 0.5)
    classes = s.last(part, "class_p", 1.0)
    pixels, shares = p < SURE and accuracy > APART, classes < SURE
    if not pixels and not shares:
        return None
    said = [f"A classifier tells {part} from train images on {accuracy:.0%} of unseen ones, where 50% is chance (p = {p:.1g})."] if pixels else []  # fmt: skip
    said += [f"Their classes come in other shares than those of train (chi-squared, p = {classes:.1g})."] if shares else []  # fmt: skip
    severity = "error" if pixels and accuracy > 0.9 else "warning"
    return finding(
        severity, 0.95 if min(p, classes) < 1e-6 else 0.85, f"{part} split", 0, " ".join(said), remedies,
        accuracy=accuracy, p_value=p, images=s.last(part, "drift_n", 0), class_p_value=classes,
    )  # fmt: skip
