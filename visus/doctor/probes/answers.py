"""What the answers of an evaluation know: right ones by class, what luck alone would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from visus.doctor.probes.labels import classes_of
from visus.doctor.probes.stock import DataLoss


def note_answers(
    s: Any, place: str, prefix: str, step: int,
    tallies: Sequence[torch.Tensor | None], losses: Sequence[torch.Tensor | None],
) -> None:  # fmt: skip
    """`loss` over the samples of all batches, its standard error `loss_error`; `luck`, `level` (below).

    A tally (2, C) counts how often each class was named and given; losses (N,) are by sample.
    """
    values = [part for part in losses if part is not None]
    if len(values) == len(losses) and sum(map(len, values)):
        whole = torch.cat(values)
        s.add(place, f"{prefix}loss", step, float(whole.mean()))
        error = float(whole.std(correction=0)) / math.sqrt(len(whole))
        s.add(place, f"{prefix}loss_error", step, error)
    known = [tally for tally in tallies if tally is not None]
    if known and len(known) == len(tallies) and len({tally.shape for tally in known}) == 1:
        total = torch.stack(known).sum(0).double()
        if len(total) == 3:  # numbers: their variance, mean over several
            n, one, two = total
            s.add(place, f"{prefix}level", step, float((two / n - (one / n).square()).mean()))
            return
        shares = total / total.sum(-1, keepdim=True).clamp_min(1)
        s.add(place, f"{prefix}luck", step, by_luck(*shares))
        s.add(place, f"{prefix}level", step, level(shares[1]))


def by_luck(named: torch.Tensor, given: torch.Tensor) -> float:
    """The error of answers that know nothing of the labels: 1 - sum_k a_k l_k, as in Cohen's kappa.

    From the shares (..., C) of the classes named and given; the mean over several questions.
    """
    return 1 - float((named * given).sum(-1).mean())


def level(given: torch.Tensor) -> float:
    """The loss of the best constant answer: the entropy of the shares (..., C), mean over questions."""
    return -float(torch.xlogy(given, given).sum(-1).mean())


def recall(s: Any, which: str, found: DataLoss, wrong: torch.Tensor) -> None:
    """Fact `train_recall` or `validation_recall`: right answers and samples by class."""
    labels = classes_of(found)
    if labels is None or len(labels) != len(wrong):
        return
    counts = s.facts.setdefault(f"{which}_recall", {})
    for label, bad in zip(labels.tolist(), wrong.tolist(), strict=True):
        right, n = counts.get(label, (0.0, 0))
        counts[label] = right + 1 - bad, n + 1


def label_ranks(found: DataLoss) -> list[float]:
    """For misclassified samples: where the given label ranks among the other classes, 0..1.

    A true confusion has its label as the runner-up (0); a label drawn at random ranks
    anywhere (mean 0.5). Needs three classes or more.
    """
    guess, target = found.input, found.target
    if found.task != "classification" or guess.ndim != 2 or guess.shape[1] < 4 or target.ndim != 1:
        return []
    bad = (guess.argmax(1) != target) & (target >= 0) & (target < guess.shape[1])
    guess, target = guess[bad], target[bad]
    above = (guess > guess.gather(1, target[:, None])).sum(1) - 1
    return (above.float() / (guess.shape[1] - 2)).tolist()
