"""Whether two sets of images can be told apart: a classifier is trained to do so.

It learns on one half of both and is judged on the other. If the sets come from one source, it
is right half of the time; how sure it is that it does better is a p-value. Source: Lopez-Paz and
Oquab 2017, Revisiting classifier two-sample tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from visus.data.audit.confirm import edges
from visus.data.audit.descriptors import Pixels, descriptor, shrunk
from visus.data.audit.linear import out_of_fold

MOST = 3000  # images of either set that are compared
LEAST = 20  # fewer tell nothing


@dataclass(frozen=True)
class Drift:
    """`accuracy` of telling the sets apart (0.5: not at all) on `n` images, `p` of chance alone.

    `odd` are the numbers, within the second set as it was given, of the images that differ most.
    """

    accuracy: float
    p: float
    n: int
    odd: Tensor


def looks(images: Pixels, rows: Tensor) -> Tensor:
    """What a camera or an encoder changes, `(len(rows), D)`: layout, light, contrast, sharpness."""
    found = [_look(shrunk(images.batch(part))) for part in rows.split(512)]
    return torch.cat(found) if found else torch.zeros(0, 1)


def _look(images: Tensor) -> Tensor:
    planes = images.flatten(2)
    ranked = planes.sort(2).values
    at = (torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99]) * (ranked.shape[2] - 1)).long()
    sharp = torch.stack([edges(plane).square().mean(1) for plane in images.unbind(1)], 1)
    spread = planes.std(2, correction=0)
    sharpness = (sharp + 1e-8).log() - 2 * (spread + 1e-4).log()
    low, _ = descriptor(images)
    moments = torch.cat(
        [planes.mean(2), spread, (spread + 1e-4).log(), (sharp + 1e-8).log(), sharpness], 1
    )
    return torch.cat(
        [
            low,
            moments,
            ranked[:, :, at].flatten(1),
            (planes == 0).float().mean(2),
            (planes == 1).float().mean(2),
        ],
        1,
    )


def told_apart(first: Tensor, second: Tensor, *, seed: int = 0) -> Drift:
    """Compare two sets of features `(n, D)`, `(m, D)`; both are cut to the same number.

    The p-value is exact for one fold and binomial: right answers among 2n fair coin throws, of
    out-of-fold predictions; it is doubled twice for what the folds have in common.
    """
    n = min(len(first), len(second), MOST)
    if n < LEAST:
        return Drift(0.5, 1.0, 2 * n, torch.zeros(0, dtype=torch.int64))
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(second), generator=draw)[:n]
    a, b = first[torch.randperm(len(first), generator=draw)[:n]], second[rows]
    x = torch.cat([a, b])
    targets = torch.tensor([0] * n + [1] * n)
    said = out_of_fold(x, targets, 2, seed=seed)
    right = int((said.argmax(1) == targets).sum())
    odd = rows[said[n:, 1].argsort(descending=True, stable=True)]
    return Drift(right / (2 * n), min(1.0, 4 * upper_tail(right, 2 * n)), 2 * n, odd)


def compare(
    looked: Tensor, other: Tensor, first: Tensor, second: Tensor, *, seed: int = 0
) -> Drift:
    """`told_apart` by looks `(n, D)`, `(m, D)` and by features of the same images, cut down."""
    n = len(looked)
    few = max(8, min(100, (n + len(other)) // 12))
    small = narrowed(torch.cat([first, second]), few)
    return told_apart(
        torch.cat([looked, small[:n]], 1), torch.cat([other, small[n:]], 1), seed=seed
    )


def narrowed(x: Tensor, most: int) -> Tensor:
    """At most `most` directions, those in which the images vary most."""
    if x.shape[1] <= most:
        return x
    centered = x - x.mean(0)
    centered = centered / centered.square().mean(0).sqrt().clamp_min(1e-6)
    _, vectors = torch.linalg.eigh(centered.T @ centered)
    return centered @ vectors[:, -most:]


def upper_tail(right: int, n: int) -> float:
    """The chance of `right` or more heads in `n` throws of a fair coin, exactly."""
    if right * 2 <= n:
        return 1.0 - upper_tail(n - right + 1, n) if right else 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        for k in range(right, n + 1)
    ]
    top = max(logs, default=-math.inf)
    return math.exp(top - n * math.log(2)) * sum(math.exp(v - top) for v in logs) if logs else 0.0


def shares_differ(first: Tensor, second: Tensor) -> float:
    """p-value that two tables of class counts `(K,)` come from the same shares (chi-squared)."""
    table = torch.stack([first, second]).double()
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2 or not bool((table.sum(1) > 0).all()):
        return 1.0
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    statistic = ((table - expected).square() / expected).sum()
    freedom = torch.tensor((table.shape[1] - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))
