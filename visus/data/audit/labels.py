"""Labels that look wrong: out-of-fold predictions contradict them with confidence.

Two models of how labels go wrong. Confident learning (Northcutt, Jiang and Chuang 2021) makes no
assumption: an image counts as one of class j where the probability of j reaches what it is, on
average, for the images labelled j; counting given labels against those classes estimates the
joint distribution of given and true labels. It takes every error of the predictions for one of
the labels, so with a small net that errs on a quarter its count is an upper bound.

The other takes a share e of the labels to be drawn at random, whatever the image shows. Then
calibrated predictions q of the *given* label are a mixture, q_j = (1 - e) p_j + e (1 - p_j) / (K - 1)
with p that of the true one, and by Bayes the label i is right with (1 - e) p_i / q_i: it falls
with q_i alone. So suspects are ordered by the probability of the given label, and named where
they are likelier wrong than right. The share e is read from where the predictions are surest: a
label that they rank last is hardly ever right, while of labels drawn at random many are ranked
so; the ratio of both frequencies is e (as Storey 2002 estimates the share of true null
hypotheses from large p-values).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST, POOR = 500, 0.6  # images; share of the error of always saying the commonest class
TAILS = (0.1, 0.2, 0.3, 0.4)  # shares of random labels that the predictions think least of


@dataclass(frozen=True)
class Suspects:
    """`rows` of suspected images, the surest first, with the class `said` and their `doubt`.

    `doubt` (R,) is the probability that the label is wrong; the first `wrong` rows are those of
    0.5 or more, the others those that confident learning adds. `share` estimates how many of all
    labels are arbitrary, `joint` the share that confident learning would name, `error` is how
    often the predictions contradict the labels. Not `judged`: too few images, or predictions
    too poor to tell a wrong label from a hard image; `share` is then no more than an upper bound.
    """

    rows: Tensor
    said: Tensor
    doubt: Tensor
    wrong: int
    share: float
    joint: float
    error: float
    judged: bool


def suspects(probabilities: Tensor, targets: Tensor) -> Suspects:
    """From calibrated out-of-fold probabilities `(n, K)` and given classes `(n,)`."""
    n = len(targets)
    if not n:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Suspects(nothing, nothing, torch.zeros(0), 0, 0.0, 0.0, 0.0, False)
    counts, share = joint(probabilities, targets), arbitrary_share(probabilities, targets)
    far, doubt = named(probabilities, targets, counts), doubts(probabilities, targets, share)
    said = probabilities.scatter(1, targets[:, None], -1.0).argmax(1)
    doubted = doubt >= 0.5
    given = probabilities.gather(1, targets[:, None])[:, 0]
    rows = (doubted | far).nonzero()[:, 0]
    rows = rows[given[rows].argsort(stable=True)]
    rows = rows[(~doubted[rows]).to(torch.int8).argsort(stable=True)]
    error = float((probabilities.argmax(1) != targets).double().mean())
    off = float(counts.sum() - counts.diagonal().sum()) / n
    chance = 1 - float(torch.bincount(targets).max()) / n
    judged = n >= LEAST and error <= POOR * chance
    return Suspects(rows, said[rows], doubt[rows], int(doubted.sum()), share, off, error, judged)


def doubts(probabilities: Tensor, targets: Tensor, share: float) -> Tensor:
    """The probability that each label is wrong, `(n,)`, where `share` of them are arbitrary."""
    classes = probabilities.shape[1]
    given = probabilities.gather(1, targets[:, None])[:, 0].double()
    if classes < 2 or share <= 0:
        return torch.zeros_like(given)
    chance = share / (classes - 1)
    true = ((given - chance) / max(1 - share - chance, 1e-6)).clamp(0, 1)
    return (1 - (1 - share) * true / given.clamp_min(1e-12)).clamp(0, 1)


def thresholds(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The mean probability of a class over the images that carry its label, `(K,)`; 2 for none."""
    classes = probabilities.shape[1]
    given = probabilities.gather(1, targets[:, None])[:, 0]
    sums = torch.zeros(classes).index_add_(0, targets, given)
    count = torch.bincount(targets, minlength=classes)
    return torch.where(count > 0, sums / count.clamp_min(1), 2.0)


def joint(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Expected numbers of images `(K, K)` by given and true class (the confident joint, calibrated).

    Rows sum to the number of labels given: Q_ij = C_ij / sum_j C_ij * n_i, with C_ij the images
    of label i that reach the threshold of j, counted for the likeliest j (equations 1 to 3).
    """
    classes = probabilities.shape[1]
    reached = probabilities >= thresholds(probabilities, targets) - 1e-6
    likely = probabilities.where(reached, torch.tensor(-1.0)).argmax(1)
    rows = reached.any(1)
    cells = torch.bincount(targets[rows] * classes + likely[rows], minlength=classes * classes)
    counts = cells.reshape(classes, classes).double()
    given = torch.bincount(targets, minlength=classes).double()
    counts = counts + torch.diag((counts.sum(1) == 0).double())  # nobody sure: all right
    return counts / counts.sum(1, keepdim=True) * given[:, None]


def named(probabilities: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Whether confident learning names each image, `(n,)`: of every cell off the diagonal of
    the joint its number of images, those with the largest margin p_j - p_i (pruning by noise rate).
    """
    n, classes = probabilities.shape
    margin = probabilities - probabilities.gather(1, targets[:, None])
    claimed = torch.zeros(n, dtype=torch.bool)
    for i in range(classes):
        own = (targets == i).nonzero()[:, 0]
        for j in range(classes):
            wanted = round(float(counts[i, j]))
            if i != j and wanted and len(own):
                top = margin[own, j].topk(min(wanted, len(own)))
                claimed[own[top.indices[top.values > 0]]] = True
    return claimed


def arbitrary_share(probabilities: Tensor, targets: Tensor) -> float:
    """The share of labels that have nothing to do with the image, 0 to 1.

    F_given(t) / F_random(t), the frequencies of a probability below t of the given label and of
    another label taken at random. Few labels lie below a small t, and below a large one right
    ones too, which makes the ratio too large: of several t that of the least ratio, with one
    standard error added, is taken.
    """
    n, classes = probabilities.shape
    if n < 100 or classes < 2:
        return 0.0
    given = probabilities.gather(1, targets[:, None])[:, 0]
    other = torch.ones_like(probabilities, dtype=torch.bool).scatter_(1, targets[:, None], False)
    random = probabilities[other].sort().values
    found = []
    for tail in TAILS:
        count = int((given <= random[int(tail * len(random))]).sum())
        found.append(((count + (count + 1) ** 0.5) / tail, count / tail))
    return min(1.0, min(found)[1] / n)
