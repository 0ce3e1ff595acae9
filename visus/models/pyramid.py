"""A network that answers every pixel: strided convolutions, ASPP, and the way back up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, nn
from torch.nn.functional import interpolate

from visus.layers import ASPP, Conv2d, Dropout2d
from visus.models.blocks import ConvNorm
from visus.models.fast import Residual
from visus.models.table import Width, networks


class Pyramid(nn.Module):
    """`(N, C, H, W)` to `(N, K, H, W)`: features at a quarter of the side, ASPP, bilinear back.

    The features of half the side join before the answer, so that borders stay sharp (Chen et al.
    2018, DeepLabv3+, section 3.1).
    """

    def __init__(
        self, channels: int, classes: int, width: int, rates: Sequence[int], aspp: bool, dropout: float,
        kind: dict[str, Any],
    ):  # fmt: skip
        super().__init__()
        wide = 4 * width
        self.stem = nn.Sequential(
            ConvNorm(channels, width, stride=2, **kind), ConvNorm(width, width, **kind)
        )
        self.body = nn.Sequential(
            ConvNorm(width, 2 * width, stride=2, **kind), Residual(2 * width, **kind),
            ConvNorm(2 * width, wide, **kind),
        )  # fmt: skip
        if aspp:
            self.context: nn.Module = ASPP(wide, wide, tuple(rates), **kind)
        else:
            self.context = ConvNorm(wide, wide, **kind)
        self.join = ConvNorm(wide + width, wide, kernel=3, **kind)
        self.dropout, self.head = Dropout2d(dropout), Conv2d(wide, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.stem(x)
        far = self.context(self.body(near))
        far = interpolate(far, size=near.shape[2:], mode="bilinear", align_corners=False)
        out = self.head(self.dropout(self.join(cat([far, near], 1))))
        return interpolate(out, size=x.shape[2:], mode="bilinear", align_corners=False)


@networks.member
def pyramid(
    channels: int, classes: int, size: tuple[int, int], *, width: Width = 16, aspp: bool = True,
    rates: Sequence[int] = (2, 4, 8), norm: str = "batch", activation: str = "relu", dropout: float = 0.0,
) -> nn.Module:  # fmt: skip
    """A class a pixel: features at a quarter of the side, ASPP with dilation `rates`, upsampled.

    `aspp=false` puts one 3x3 convolution in its place.
    """
    return Pyramid(
        channels, classes, width, rates, aspp, dropout, {"norm": norm, "activation": activation}
    )


pyramid.per_pixel = True  # type: ignore[attr-defined]
