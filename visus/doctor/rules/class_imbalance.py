"""The rule `class-imbalance`."""

from __future__ import annotations

import math

from visus.doctor.progress import plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("labels", "loss", "trials", "views"), because=("not-shuffled",))
def class_imbalance(s: Signals) -> Finding | None:
    """Some classes are seen many times more often than others.

    What: the batches hold one class at least six times as often as another.
    Why: the loss is lowest for an answer that favours the frequent class; accuracy looks good
    while rare classes are never named.
    How: labels counted over recorded batches; the ratio of the largest to the smallest class (at
    least three after two standard errors, of samples that differ, are taken from one and given to
    the other); the recall of rare classes at the end, in evaluation mode.
    Cure: weights in the loss (`weight=`, `pos_weight=`), a weighted sampler, more samples of the
    rare classes; judge by recall of each class.
    Not: a loss that already carries class weights, or a sampler that balances the batches; a
    network that names three quarters of the rare samples in spite of it gets a remark.
    Source: Buda, Maki, Mazurowski 2018, A systematic study of the class imbalance problem.
    """
    counts = s.facts.get("label_counts", {})
    n = sum(counts.values())
    if len(counts) < 2 or n < 100 or s.facts.get("weighted") or not plain(s):
        return None
    high, low = max(counts.values()), min(counts.values())
    # The same few samples counted again and again are no more evidence than once.
    once = max(s.facts.get("new_samples", 1.0), 1 / low)
    many, few = high * once, low * once
    sure = (many - 2 * math.sqrt(many)) / (few + 2 * math.sqrt(few) + 1)
    mixed = s.facts.get("batch_mixing", 1.0) < 2 or s.facts.get("label_batches", 0) > 40
    if high / low < 6 or sure < 3 or not mixed:
        return None
    found = _recall(s, [label for label, count in counts.items() if count < high / 4])
    rare = min(counts, key=lambda k: counts[k])
    return finding(
        "info" if found > 0.75 else "warning", 0.9, "labels", 0,
        f"Class {max(counts, key=lambda k: counts[k])} is {high / low:.0f} times as frequent as class {rare} "
        f"({high} against {low} of {n} labels seen), and the loss counts them alike.",
        ["give the loss class weights, or draw batches with a weighted sampler",
         "judge by the recall of each class, not by accuracy"],
        recall_of_rare=found, ratio=high / low, largest_share=high / n, smallest_share=low / n,
    )  # fmt: skip


def _recall(s: Signals, rare: list) -> float:
    """The share of samples of `rare` classes that the network names, on validation where it was seen.

    On training batches only where most samples (seven tenths) came once: others it knows by heart.
    """
    places = ("validation", 8), ("train", 8 if s.facts.get("new_samples", 1.0) > 0.7 else math.inf)
    for which, least in places:
        rows = [s.facts.get(f"{which}_recall", {}).get(label, (0.0, 0)) for label in rare]
        if (n := sum(row[1] for row in rows)) >= least:
            return sum(row[0] for row in rows) / n
    return 0.0
