"""Networks that see the image as a plain vector: a linear model and a multi-layer perceptron."""

from __future__ import annotations

from math import prod

from torch import nn

from visus.layers import Dropout, Linear, norms
from visus.models.table import networks


@networks.member
def linear(
    channels: int, classes: int, size: tuple[int, int], *, dropout: float = 0.0
) -> nn.Module:
    """One linear layer on the pixels: the baseline every network must beat."""
    return nn.Sequential(nn.Flatten(), Dropout(dropout), Linear(channels * prod(size), classes))


@networks.member
def mlp(
    channels: int, classes: int, size: tuple[int, int], *, width: int = 256, depth: int = 2,
    norm: str = "batch", activation: str = "relu", dropout: float = 0.0,
) -> nn.Module:  # fmt: skip
    """`depth` hidden layers of `width` units, each with its norm and activation."""
    layers: list[nn.Module] = [nn.Flatten()]
    units = channels * prod(size)
    for _ in range(depth):
        layers += [Linear(units, width, bias=norm == "none"), _norm(norm, width, activation)]
        layers += [Dropout(dropout)] if dropout else []
        units = width
    return nn.Sequential(*layers, Linear(units, classes))


def _norm(name: str, width: int, activation: str) -> nn.Module:
    # Norms of images see a vector as a 1x1 image.
    return nn.Sequential(
        nn.Unflatten(1, (width, 1, 1)), norms.make(name, width, act=activation), nn.Flatten()
    )
