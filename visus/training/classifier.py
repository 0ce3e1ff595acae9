"""The network together with the normalization of its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Logits `(N, K)` for float images `(N, C, H, W)` in [0, 1]: `network((x - mean) / std)`.

    `mean` and `std` are per channel, from train, and part of the state: the model that is
    saved, evaluated or exported is the model that was trained.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        self.network = network
        self.task: Any = None  # how its outputs are read; None: as a classification

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def statistics(
    normalization: str, mean: Sequence[float], std: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Mean and deviation to use; a channel that never varies is divided by 1."""
    if normalization == "none":
        return [0.0] * len(mean), [1.0] * len(std)
    return list(mean), [value if value > 1e-6 else 1.0 for value in std]
