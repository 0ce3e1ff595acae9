"""A ResNet-9-like network: much accuracy for few operations on images of 32x32 to 128x128."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from visus.layers import MaxPool2d
from visus.models.blocks import ConvNorm, Head
from visus.models.table import Width, networks


class Residual(nn.Module):
    """`x + f(x)` with f two convolutions that keep the shape `(N, C, H, W)`."""

    def __init__(self, channels: int, **kind):
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(channels, channels, **kind), ConvNorm(channels, channels, **kind)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@networks.member
def fast(
    channels: int, classes: int, size: tuple[int, int], *, width: Width = 32,
    norm: str = "batch", activation: str = "relu", dropout: float = 0.0,
) -> nn.Module:  # fmt: skip
    """Stem, three pooled stages of width 2, 4 and 8 times `width`, residual in the first and last.

    After the 9-layer residual net of Page, "How to train your ResNet" (2018); above 48 pixels
    the stem strides by two.
    """
    kind: dict[str, Any] = {"norm": norm, "activation": activation}
    stride = 2 if max(size) > 48 else 1
    w1, w2, w3 = 2 * width, 4 * width, 8 * width
    return nn.Sequential(
        ConvNorm(channels, width, stride=stride, **kind),
        ConvNorm(width, w1, pool=MaxPool2d(2), **kind),
        Residual(w1, **kind),
        ConvNorm(w1, w2, pool=MaxPool2d(2), **kind),
        ConvNorm(w2, w3, pool=MaxPool2d(2), **kind),
        Residual(w3, **kind),
        Head(w3, classes, dropout),
    )
