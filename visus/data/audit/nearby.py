"""All pairs of points closer than a radius, exactly, without comparing all with all.

Points are cut into leaves of a k-d tree; two leaves whose boxes are further apart than the
radius are passed over; the others are compared by one matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAF = 512  # points in a leaf: its distance matrix stays in the cache
MOST = 12  # pairs kept for one point, the nearest


def leaves(points: Tensor, size: int = LEAF) -> list[Tensor]:
    """Numbers of the points, in groups of at most `size` that lie together."""
    done, waiting = [], [torch.arange(len(points))]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= size:
            done.append(rows)
            continue
        inside = points[rows]
        order = inside[:, int(inside.var(0).argmax())].argsort()
        half = len(rows) // 2
        waiting += [rows[order[:half]], rows[order[half:]]]
    return done


def pairs_within(points: Tensor, other: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs i < j with |points[i] - other[j]| <= the smaller of radius[i], radius[j].

    `points`, `other` `(n, D)`, where the distance of i and j is that of j and i (the same points,
    or their mirror images); `radius` `(n,)`. Returns pairs int64 `(P, 2)` and distances `(P,)`;
    of each point the nearest `MOST` are kept.
    """
    groups = leaves(points) if len(points) else []
    found, lengths = [torch.zeros(0, 2, dtype=torch.int64)], [torch.zeros(0)]
    boxes = [(points[g].amin(0), points[g].amax(0), float(radius[g].max())) for g in groups]
    if not groups:
        return found[0], lengths[0]
    others = [(other[g].amin(0), other[g].amax(0)) for g in groups]
    low, high = torch.stack([b[0] for b in others]), torch.stack([b[1] for b in others])
    for a, group in enumerate(groups):
        gap = (low[a:] - boxes[a][1]).clamp_min(0) + (boxes[a][0] - high[a:]).clamp_min(0)
        near = (gap.norm(dim=1) <= boxes[a][2]).nonzero()[:, 0] + a
        for b in near.tolist():
            i, j, d = _close(points, other, group, groups[b], radius)
            keep = i < j if a == b else i != j
            found.append(torch.stack([torch.minimum(i, j), torch.maximum(i, j)], 1)[keep])
            lengths.append(d[keep])
    return _nearest(torch.cat(found), torch.cat(lengths), len(points))


def _close(
    points: Tensor, other: Tensor, left: Tensor, right: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    a, b = points[left], other[right]
    center = a.mean(0)  # distances of near points come out of small numbers
    a, b = a - center, b - center
    square = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1)[:, None])
    limit = torch.minimum(radius[left][:, None], radius[right][None]).square_()
    at = (square <= limit).nonzero()
    return left[at[:, 0]], right[at[:, 1]], square[at[:, 0], at[:, 1]].clamp_min(0).sqrt()


def _nearest(pairs: Tensor, lengths: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Of each point the `MOST` nearest pairs: flat images must not crowd out the memory."""
    if not len(pairs) or int(torch.bincount(pairs.flatten(), minlength=n).max()) <= MOST:
        return pairs, lengths
    order = lengths.argsort(stable=True)
    pairs, lengths = pairs[order], lengths[order]
    keep = torch.zeros(len(pairs), dtype=torch.bool)
    for side in (0, 1):
        keep |= _rank(pairs[:, side]) < MOST
    return pairs[keep], lengths[keep]


def _rank(keys: Tensor) -> Tensor:
    """How many equal keys stand before each."""
    order = keys.argsort(stable=True)
    ordered = keys[order]
    first = torch.searchsorted(ordered, ordered)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(keys)) - first
    return rank
