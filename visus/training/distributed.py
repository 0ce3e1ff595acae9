"""Several processes train one model: started by `torchrun`, each takes its part of every batch.

The loop is the same; between backward and step the gradients are averaged over the ranks, so
loss, gradient norm and weights are equal on all of them. Rank 0 alone evaluates, writes files
and decides what depends on the clock. Norms see the part of the batch of their own rank.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process's rank among `size`; with size 1 every method is the identity."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @torch.no_grad()
    def mean(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def agree(self, value: Any) -> Any:
        """The `value` (plain JSON-like data) that rank 0 has."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is set on any rank."""
        if self.size == 1:
            return flag
        found = torch.tensor([float(flag)], device=device)
        dist.all_reduce(found)
        return bool(found > 0)


ALONE = World()


def join() -> World:
    """The world that torchrun describes in the environment; alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1 or "MASTER_ADDR" not in os.environ:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        # Left open, gloo's threads abort the process when a rank that is done goes first.
        atexit.register(leave)
    return World(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Close this rank's part of the world, where it is still open."""
    if dist.is_initialized():
        dist.destroy_process_group()
