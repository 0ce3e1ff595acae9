"""A square of each image is blotted out."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Generator, Tensor

from visus.data.jitter import jitters, within
from visus.data.jitter.draws import uniform
from visus.family import Range


@jitters.member
class Cutout:
    """Fills a square with the image's own mean color (DeVries & Taylor 2017).

    Its side is `size` of the shorter side of the image, its centre anywhere in the image, so that
    part of it may lie outside. `probability` is the share of images it happens to.
    """

    mixes = False

    def __init__(
        self, *, size: Annotated[float, Range(0.05, 0.5)] = 0.25, probability: float = 1.0
    ):
        self.size = within("jitter.cutout.size", size, 0, 2)
        self.probability = within("jitter.cutout.probability", probability, 0, 1)

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Images `(N, C, H, W)` with a square missing; targets as they are."""
        if not images.numel():
            return images.clone(), targets
        h, w = images.shape[2:]
        side = round(self.size * min(h, w))
        chosen = uniform(images, generator) < self.probability
        rows = _within(h, side, uniform(images, generator)) & chosen.view(-1, 1)
        columns = _within(w, side, uniform(images, generator))
        hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
        return torch.where(hole, images.mean((2, 3), keepdim=True), images), targets


def _within(n: int, side: int, centre: Tensor) -> Tensor:
    """bool `(N, n)`: the `side` positions around a centre, from 0 to 1, that lie inside."""
    first = (centre * n).floor().view(-1, 1) - side // 2
    at = torch.arange(n).view(1, -1)
    return (at >= first) & (at < first + side)
