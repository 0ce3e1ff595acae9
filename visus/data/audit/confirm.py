"""Whether two images that look alike from far are copies: their pixels are compared.

Both are laid upon each other at every shift of up to two pixels. Copies agree in their edges,
however they were encoded; two pictures of the same kind of thing agree in brightness alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from visus.data.audit.descriptors import Pixels, luma, shrunk

SHIFT = 2  # pixels, in both directions
PAIRS = 512  # compared at a time
FLAT = 1e-3  # edges weaker than this (of 1) are no picture


def agreement(images: Pixels, pairs: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """How well the edges, and the brightness, of each pair `(P, 2)` agree: correlations `(P,)`.

    `mirrored` (P,) tells which of the second images are turned left to right first. 1 is a copy,
    0 nothing in common; of all shifts the one where the edges agree best.
    """
    edges, bright = [torch.zeros(0)], [torch.zeros(0)]
    for rows in torch.arange(len(pairs)).split(PAIRS):
        a = luma(shrunk(images.batch(pairs[rows, 0])))
        b = luma(shrunk(images.batch(pairs[rows, 1])))
        b = torch.where(mirrored[rows][:, None, None], b.flip(2), b)
        best = _best(a, b)
        edges.append(best[0])
        bright.append(best[1])
    return torch.cat(edges), torch.cat(bright)


def _best(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    seen = [_overlap(a, b, dy, dx) for dy, dx in _shifts(a.shape[1], a.shape[2])]
    edges, bright = torch.stack([s[0] for s in seen]), torch.stack([s[1] for s in seen])
    best = edges.argmax(0)
    rows = torch.arange(len(best))
    return edges[best, rows], bright[best, rows]


def _shifts(height: int, width: int) -> list[tuple[int, int]]:
    """Shifts that leave at least three quarters of a side in common."""
    most_y, most_x = min(SHIFT, height // 8), min(SHIFT, width // 8)
    ys, xs = range(-most_y, most_y + 1), range(-most_x, most_x + 1)
    return [(y, x) for y in ys for x in xs]


def _overlap(a: Tensor, b: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
    height, width = a.shape[1] - abs(dy), a.shape[2] - abs(dx)
    left = a[:, max(dy, 0) :, max(dx, 0) :][:, :height, :width]
    right = b[:, max(-dy, 0) :, max(-dx, 0) :][:, :height, :width]
    return correlation(edges(left), edges(right)), correlation(left, right)


def edges(planes: Tensor) -> Tensor:
    """Differences of neighbours down and across, `(B, E)`; of a plane of one pixel itself."""
    down, across = planes.diff(dim=1).flatten(1), planes.diff(dim=2).flatten(1)
    found = torch.cat([down, across], 1)
    return found if found.shape[1] else planes.flatten(1)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of the rows of `a` and `b`; 1 for two flat rows, 0 for one."""
    a, b = a.flatten(1), b.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    x, y = a.norm(dim=1), b.norm(dim=1)
    least = FLAT * a.shape[1] ** 0.5
    both, either = (x < least) & (y < least), (x < least) | (y < least)
    found = (a * b).sum(1) / (x * y).clamp_min(1e-12)
    return torch.where(either, both.float(), found)
