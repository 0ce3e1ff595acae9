"""Random numbers, one an image, drawn on the CPU and brought to where the images are."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def uniform(images: Tensor, generator: Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """`(N,)` float32 between low and high, on the CPU."""
    return torch.rand(len(images), generator=generator) * (high - low) + low


def whole(images: Tensor, generator: Generator, low: int, high: int) -> Tensor:
    """`(N,)` int64 from low to high, both included, on the CPU."""
    return torch.randint(low, high + 1, (len(images),), generator=generator)


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """`(N,)` as `(N, 1, 1, 1)` with the type and device of the images."""
    return values.to(images).view(-1, 1, 1, 1)
