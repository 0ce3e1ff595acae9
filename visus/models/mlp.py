"""Networks that see the image as a plain vector: a linear model and a multi-layer perceptron."""

from __future__ import annotations

from math import prod

from torch import nn

from visus.errors import RecipeError
from visus.layers import Dropout, Linear, norms
from visus.models.table import Width, networks

# The norms that have something to average over in a vector, and their options for it.
VECTOR_NORMS: dict[str, dict[str, int]] = {
    "batch": {},
    "layer": {},
    "group": {"groups": 4},
    "none": {},
}


@networks.member
def linear(
    channels: int, classes: int, size: tuple[int, int], *, dropout: float = 0.0
) -> nn.Module:
    """One linear layer on the pixels: the baseline every network must beat."""
    return nn.Sequential(nn.Flatten(), Dropout(dropout), Linear(channels * prod(size), classes))


@networks.member
def mlp(
    channels: int, classes: int, size: tuple[int, int], *, width: Width = 256, depth: int = 2,
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
    """A norm of images that sees the vector as a 1x1 image."""
    if name not in VECTOR_NORMS:
        raise RecipeError(
            f"model 'mlp': norm '{name}' needs more than one pixel a channel; "
            f"choose {', '.join(VECTOR_NORMS)}"
        )
    norm = norms.make(name, width, act=activation, **VECTOR_NORMS[name])
    return nn.Sequential(nn.Unflatten(1, (width, 1, 1)), norm, nn.Flatten())
