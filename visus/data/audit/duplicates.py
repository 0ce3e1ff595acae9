"""Copies of images: byte for byte the same pixels, and near ones (re-encoded, shifted, mirrored).

Candidates are pairs whose far look (`descriptors`) is much closer than is usual in this set, so
that two handwritten ones are no copies merely because all ones look alike; pixels confirm them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from visus.data.audit.confirm import agreement
from visus.data.audit.descriptors import Pixels, blocks, describe
from visus.data.audit.nearby import pairs_within

REFERENCE = 2000  # images that show how far apart neighbours usually are
RANK = 5  # the distance to this nearest of them is the usual one; a few copies do not shrink it
CLOSER = 0.6  # candidates are closer than this share of the usual distance
AGREE = 0.6  # edges of copies correlate at least so; on CIFAR-10 few pairs above it are none
TYPICAL, ALIKE = 0.9, 0.5  # the more one in ten usual neighbours agrees, the more copies must


@dataclass(frozen=True)
class Copies:
    """Pairs of images `(P, 2)`, which of them are mirrored, exact, and how well edges agree."""

    pairs: Tensor
    mirrored: Tensor
    exact: Tensor
    agree: Tensor

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: Tensor) -> Copies:
        """Some of the pairs."""
        return Copies(self.pairs[rows], self.mirrored[rows], self.exact[rows], self.agree[rows])


def find_copies(
    images: Pixels, *, near: bool = True, keys: Sequence[Hashable] | None = None
) -> Copies:
    """All exact and near copies among `images`, the best agreeing first.

    Without `near` exact ones alone, in seconds; `keys`, one an image and equal for equal ones,
    spare reading the pixels for that. Of a group of n exact copies n - 1 pairs are named, each with the first of the group. Time:
    a minute or so for 60,000 images on one core; memory: about 1 KB an image.
    """
    first = _first_equal(images) if keys is None else _first_key(keys)
    exact = (first != torch.arange(len(first))).nonzero()[:, 0]
    same = torch.stack([first[exact], exact], 1)
    alone = (first == torch.arange(len(first))).nonzero()[:, 0]
    found, mirrored, agree = _near(_Chosen(images, alone if near else alone[:0]))
    return Copies(
        torch.cat([same, alone[found]]),
        torch.cat([torch.zeros(len(same), dtype=torch.bool), mirrored]),
        torch.cat([torch.ones(len(same), dtype=torch.bool), torch.zeros(len(found)).bool()]),
        torch.cat([torch.ones(len(same)), agree]),
    )


class _Chosen:
    def __init__(self, images: Pixels, rows: Tensor):
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor) -> Tensor:
        return self.images.batch(self.rows[indices])


def _first_equal(images: Pixels) -> Tensor:
    """For each image the first one with the very same pixels."""
    seen: dict[bytes, int] = {}
    found = []
    for rows in blocks(len(images)):
        for i, image in zip(rows.tolist(), images.batch(rows).numpy(), strict=True):
            found.append(seen.setdefault(hashlib.blake2b(image.tobytes()).digest()[:16], i))
    return torch.tensor(found, dtype=torch.int64)


def _first_key(keys: Sequence[Hashable]) -> Tensor:
    seen: dict[Hashable, int] = {}
    return torch.tensor([seen.setdefault(key, i) for i, key in enumerate(keys)], dtype=torch.int64)


def _near(images: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    nothing = torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0).bool(), torch.zeros(0)
    if len(images) < 2:
        return nothing
    points, signs = describe(images)
    usual, floor = _usual(images, points)
    plain, _ = pairs_within(points, points, CLOSER * usual)
    turned, _ = pairs_within(points, points * signs, CLOSER * usual)
    pairs = torch.cat([plain, turned])
    mirrored = torch.arange(len(pairs)) >= len(plain)
    agree, _ = agreement(images, pairs, mirrored)
    good = (agree >= floor).nonzero()[:, 0]
    good = good[_first_of_pair(pairs[good], agree[good])]
    return pairs[good], mirrored[good], agree[good]


def _first_of_pair(pairs: Tensor, agree: Tensor) -> Tensor:
    """Each pair once, the best agreeing first (a symmetric picture matches both ways)."""
    order = agree.argsort(descending=True, stable=True)
    seen: set[tuple[int, ...]] = set()
    keep = []
    for row in order.tolist():
        key = tuple(pairs[row].tolist())
        if key not in seen:
            seen.add(key)
            keep.append(row)
    return torch.tensor(keep, dtype=torch.int64)


def _usual(images: Pixels, points: Tensor) -> tuple[Tensor, float]:
    """The usual distance of each image to its neighbours, and the agreement that copies exceed."""
    draw = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(points), generator=draw)[:REFERENCE]
    rank = min(RANK + 1, len(chosen))  # an image of the reference finds itself first
    near = [
        torch.cdist(part, points[chosen]).topk(rank, largest=False) for part in points.split(2000)
    ]
    usual = torch.cat([found.values[:, -1] for found in near])
    partner = chosen[torch.cat([found.indices[:, -1] for found in near])]
    some = chosen[:400]
    pairs = torch.stack([some, partner[some]], 1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    agree, _ = agreement(images, pairs, torch.zeros(len(pairs), dtype=torch.bool))
    typical = float(agree.quantile(TYPICAL)) if len(agree) else 0.0
    return usual, max(AGREE, 1 - ALIKE * (1 - typical) ** 2)
