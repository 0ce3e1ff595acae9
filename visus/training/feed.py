"""The batch of a step: which images, as floats on the device, jittered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from visus.data import Jitter, epoch_order
from visus.training.distributed import ALONE, World
from visus.training.seeds import mix


class Feed:
    """`feed(step)` -> float images `(B, C, H, W)` in [0, 1] and targets; a function of (seed, step).

    Each epoch goes once through train in an order of its own; the images left over when the
    batches do not come out even are other ones in each epoch. Of several ranks each takes its
    part of the batch.
    """

    def __init__(
        self, images: Any, jitter: dict[str, dict[str, Any]], *, classes: int, batch_size: int,
        seed: int, device: torch.device, channels_last: bool, world: World = ALONE,
    ):  # fmt: skip
        self.images, self.device = images, device
        # Every rank the same number of images, and draws of its own.
        self.batch_size = min(batch_size, len(images)) // world.size * world.size or world.size
        self.seed = mix(seed, world.rank) if world.rank else seed
        self.per_epoch = max(1, len(images) // self.batch_size)
        self.jitter = Jitter(jitter, classes=classes) if jitter else None
        self.part = slice(world.rank, None, world.size)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self._order = lru_cache(maxsize=1)(lambda epoch: epoch_order(len(images), seed, epoch))

    def indices(self, step: int) -> Tensor:
        """The images of a step, as positions in train."""
        epoch, batch = divmod(step, self.per_epoch)
        first = batch * self.batch_size
        return self._order(epoch)[first : first + self.batch_size][self.part]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = self.indices(step)
        images = self.images.batch(chosen).to(self.device)
        targets = self.images.targets[chosen].to(self.device)
        images = images.to(torch.float32, memory_format=self.format).div_(255)
        if self.jitter is None:
            return images, targets
        images, targets = self.jitter(images, targets, self.seed, step)
        return images.contiguous(memory_format=self.format), targets
