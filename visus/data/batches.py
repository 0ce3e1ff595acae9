"""Which images make the batch of a step: functions of (seed, epoch) and (seed, step), no state."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """A well mixed 63-bit seed from numbers and words."""
    text = "\n".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0 ... n-1, int64 `(n,)`, another one in each epoch."""
    return _order(n, seed, epoch).clone()


@lru_cache(maxsize=4)
def _order(n: int, seed: int, epoch: int) -> Tensor:
    # Kept for the steps of an epoch and of the next; whoever hands it on copies.
    draw = torch.Generator().manual_seed(seed_of("order", seed, epoch))
    return torch.randperm(n, generator=draw)


def steps_per_epoch(n: int, batch_size: int, *, drop_last: bool = True) -> int:
    """Batches in an epoch; at least one wherever there are images."""
    whole, rest = divmod(n, batch_size)
    return max(whole, min(n, 1)) if drop_last else whole + (rest > 0)


def batch_indices(
    n: int, batch_size: int, seed: int, step: int, *, drop_last: bool = True
) -> Tensor:  # fmt: skip
    """The images of a step (from 0), int64; each epoch takes every image at most once.

    With `drop_last` all batches are of `batch_size` (or of n, where that is less): the images
    left over at the end of an epoch are others in each epoch, and batch statistics never see a
    tiny batch. Without it the last batch of an epoch is shorter, and every image is seen.
    """
    per_epoch = steps_per_epoch(n, batch_size, drop_last=drop_last)
    if not per_epoch:
        return torch.zeros(0, dtype=torch.int64)
    epoch, at = divmod(step, per_epoch)
    return _order(n, seed, epoch)[at * batch_size : (at + 1) * batch_size].clone()
