"""A small convolutional network for 8x8 to 64x64 images, and All-CNN, which never pools."""

from __future__ import annotations

from typing import Any

from torch import nn

from visus.layers import Dropout2d, MaxPool2d
from visus.models.blocks import ConvNorm, Head
from visus.models.table import Width, networks


@networks.member
def cnn(
    channels: int, classes: int, size: tuple[int, int], *, width: Width = 32, stages: int = 0,
    norm: str = "batch", activation: str = "relu", dropout: float = 0.0,
) -> nn.Module:  # fmt: skip
    """Stages of two 3x3 convolutions and a 2x2 max-pool; the width doubles with each stage.

    `stages=0` takes as many as leave at least 2x2 pixels, at most four.
    """
    layers: list[nn.Module] = []
    cin, cout = channels, width
    kind: dict[str, Any] = {"norm": norm, "activation": activation}
    for _ in range(stages or _stages(size)):
        layers += [ConvNorm(cin, cout, **kind), ConvNorm(cout, cout, pool=MaxPool2d(2), **kind)]
        cin, cout = cout, cout * 2
    return nn.Sequential(*layers, Head(cin, classes, dropout))


def _stages(size: tuple[int, int]) -> int:
    return max(1, min(4, min(size).bit_length() - 2))


@networks.member("all-cnn")
def all_cnn(
    channels: int, classes: int, size: tuple[int, int], *, width: Width = 96,
    norm: str = "batch", activation: str = "relu", dropout: float = 0.0,
) -> nn.Module:  # fmt: skip
    """All-CNN-C: strided convolutions in place of pooling (Springenberg et al. 2015, table 1)."""
    kind: dict[str, Any] = {"norm": norm, "activation": activation}
    wide = 2 * width
    plan = [(width, 3, 1), (width, 3, 1), (width, 3, 2), (wide, 3, 1), (wide, 3, 1), (wide, 3, 2)]
    plan += [(wide, 3, 1), (wide, 1, 1)]
    layers: list[nn.Module] = [Dropout2d(dropout / 2)] if dropout else []
    cin = channels
    for cout, kernel, stride in plan:
        layers += [ConvNorm(cin, cout, kernel=kernel, stride=stride, **kind)]
        cin = cout
    return nn.Sequential(*layers, Head(cin, classes, dropout))
