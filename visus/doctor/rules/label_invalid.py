"""The rule `label-invalid`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("labels", "loss"))
def label_invalid(s: Signals) -> Finding | None:
    """Some labels mean nothing to the loss: out of range, not a number, or all ignored.

    What: class labels must be whole numbers 0 ... C-1 for C outputs; targets of a two-class
    loss lie in [0, 1]; targets of a regression are finite numbers.
    Why: cross entropy stops with an index error, the two-class loss with logits goes to minus
    infinity without a word, and one target that is not a number spoils every weight.
    How: the range and the share of non-finite targets, read on recorded batches, and on the
    batch that made the program stop.
    Cure: map the labels to 0 ... C-1 (or give the network as many outputs as there are classes);
    remove or repair samples without a valid target.
    Not: labels equal to `ignore_index` are meant to be skipped, unless they are most of them.
    Source: the definitions of torch.nn.functional.cross_entropy and binary_cross_entropy.
    """
    for quantity, limit in (("nonfinite", 0.0), ("outside", 0.0), ("ignored", 0.9)):
        bad = [(step, v) for step, v in s.series("labels", quantity) if v > limit]
        if bad:
            words = {"nonfinite": "are not finite numbers", "outside": "lie outside the range the loss allows",
                     "ignored": "are ignored by the loss"}[quantity]  # fmt: skip
            low, high = (
                min(s.values("labels", "min"), default=0),
                max(s.values("labels", "max"), default=0),
            )
            return finding(
                "error", 0.98, "labels", bad[0][0],
                f"{bad[0][1]:.0%} of the labels of one batch {words}"
                + (f" (seen: {low:g} to {high:g}, outputs: {s.facts.get('classes', 1)})." if quantity == "outside" else "."),
                ["map the labels to 0 ... C-1, or give the network as many outputs as classes",
                 "check how labels are read and remove samples without a valid one"],
                share=bad[0][1], lowest=low, highest=high, outputs=s.facts.get("classes", 1),
            )  # fmt: skip
    return None
