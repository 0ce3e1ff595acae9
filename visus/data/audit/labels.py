"""Labels that look wrong: out-of-fold predictions contradict them with confidence.

The share of wrong labels is read from where the predictions are surest: a label that the
predictions rank last is hardly ever right, while of labels drawn at random many are ranked so.
The ratio of both frequencies is the share of random labels (as Storey 2002 estimates the share
of true null hypotheses from large p-values). The list is that of confident learning (Northcutt,
Jiang and Chuang 2021): images whose predicted class is surer than it is, on average, of the
images of that class, ordered by how far the given label lies behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TAIL = 0.05  # of labels drawn at random: the share that the predictions think the least of


@dataclass(frozen=True)
class Suspects:
    """`rows` of suspected images, the surest first, with the class `said` and margins.

    `share` estimates how many of all labels are arbitrary, `error` is how often the predictions
    contradict the labels.
    """

    rows: Tensor
    said: Tensor
    margin: Tensor
    share: float
    error: float


def suspects(probabilities: Tensor, targets: Tensor) -> Suspects:
    """From out-of-fold probabilities `(n, K)` and given classes `(n,)`."""
    n, classes = probabilities.shape
    given = probabilities.gather(1, targets[:, None])[:, 0]
    said = probabilities.argmax(1)
    share = arbitrary_share(probabilities, targets)
    sure = _confident(probabilities, targets, classes)
    margin = probabilities.amax(1) - given
    rows = (sure & (said != targets)).nonzero()[:, 0]
    rows = rows[margin[rows].argsort(descending=True, stable=True)]
    error = float((said != targets).double().mean()) if n else 0.0
    return Suspects(rows, said[rows], margin[rows], share, error)


def _confident(probabilities: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Whether the most likely class is as likely as it usually is where it is the given one."""
    sums = torch.zeros(classes).index_add_(
        0, targets, probabilities.gather(1, targets[:, None])[:, 0]
    )
    usual = sums / torch.bincount(targets, minlength=classes).clamp_min(1)
    top = probabilities.max(1)
    return top.values >= usual[top.indices]


def arbitrary_share(probabilities: Tensor, targets: Tensor) -> float:
    """The share of labels that have nothing to do with the image, 0 to 1.

    F_given(t) / F_random(t), the frequencies of a probability below t of the given label and of
    another label taken at random, with t such that F_random(t) is 5 %.
    """
    n, classes = probabilities.shape
    if n < 100 or classes < 2:
        return 0.0
    given = probabilities.gather(1, targets[:, None])[:, 0]
    other = torch.ones_like(probabilities, dtype=torch.bool).scatter_(1, targets[:, None], False)
    random = probabilities[other].sort().values
    limit = random[int(TAIL * len(random))]
    return min(1.0, float((given <= limit).double().mean()) / TAIL)
