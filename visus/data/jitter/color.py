"""Brightness, contrast and saturation."""

from __future__ import annotations

from typing import Annotated

from torch import Generator, Tensor

from visus.data.jitter import jitters, within
from visus.data.jitter.draws import per_image, uniform
from visus.family import Range

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to grey


@jitters.member
class Color:
    """Multiplies brightness, contrast around the mean grey, and saturation, each by a factor
    from 1 - x to 1 + x of its option. Grey images have no saturation to change.
    """

    mixes = False

    def __init__(
        self, *, brightness: Annotated[float, Range(0.0, 0.5)] = 0.2,
        contrast: Annotated[float, Range(0.0, 0.5)] = 0.2,
        saturation: Annotated[float, Range(0.0, 0.5)] = 0.2,
    ):  # fmt: skip
        self.brightness = within("jitter.color.brightness", brightness, 0, 1)
        self.contrast = within("jitter.color.contrast", contrast, 0, 1)
        self.saturation = within("jitter.color.saturation", saturation, 0, 1)

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Images `(N, C, H, W)` of other colors, cut to [0, 1]; targets as they are."""
        bright, contrast, color = (
            per_image(uniform(images, generator, 1 - x, 1 + x), images)
            for x in (self.brightness, self.contrast, self.saturation)
        )
        images = (images * bright).clamp_(0, 1)
        if images.numel():
            middle = grey(images).mean((2, 3), keepdim=True)
            images = images.sub(middle).mul_(contrast).add_(middle).clamp_(0, 1)
        if images.shape[1] == 3:
            plain = grey(images)
            images = images.sub(plain).mul_(color).add_(plain).clamp_(0, 1)
        return images, targets


def grey(images: Tensor) -> Tensor:
    """The luma `(N, 1, H, W)`; of images that are not RGB the mean over channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.split(1, 1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
