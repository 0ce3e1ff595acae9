"""The batch of a step: which images, as floats on the device, jittered."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from visus.data import Jitter, batch_indices, steps_per_epoch
from visus.training.distributed import ALONE, World
from visus.training.seeds import mix

SLOW = 0.002  # seconds to fetch a batch above which the next is fetched meanwhile


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
        self.per_epoch = steps_per_epoch(len(images), self.batch_size)
        self._chosen = partial(batch_indices, len(images), self.batch_size, seed)
        self.jitter = Jitter(jitter, classes=classes) if jitter else None
        self.part = slice(world.rank, None, world.size)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self._ahead: tuple[int, Future[Tensor]] | None = None

    def indices(self, step: int) -> Tensor:
        """The images of a step, as positions in train."""
        return self._chosen(step)[self.part]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        images = self._pixels(step).to(self.device)
        targets = self.images.targets[self.indices(step)].to(self.device)
        images = images.to(torch.float32, memory_format=self.format).div_(255)
        if self.jitter is None:
            return images, targets
        images, targets = self.jitter(images, targets, self.seed, step)
        return images.contiguous(memory_format=self.format), targets

    def _pixels(self, step: int) -> Tensor:
        """The uint8 images of a step; where fetching is slow, the next step's are fetched ahead.

        What is fetched ahead is kept by its step: a step that is asked for out of turn is
        fetched anew, so nothing depends on what was asked before.
        """
        ahead, self._ahead = self._ahead, None
        start = time.perf_counter()
        fetched = ahead[1].result() if ahead and ahead[0] == step else self._fetch(step)
        if ahead or time.perf_counter() - start > SLOW:
            self._ahead = (step + 1, _helper().submit(self._fetch, step + 1))
        return fetched

    def _fetch(self, step: int) -> Tensor:
        return self.images.batch(self.indices(step))


@cache
def _helper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "visus-feed")
