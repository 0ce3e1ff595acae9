"""A small rotation, scaling, shear and shift."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Generator, Tensor, nn

from visus.data.jitter import jitters, within
from visus.data.jitter.draws import uniform
from visus.errors import RecipeError
from visus.family import Range

_FILL = {"reflect": "reflection", "zero": "zeros", "border": "border"}


@jitters.member
class Affine:
    """Turns by up to `degrees`, scales by 1 - `scale` to 1 + `scale`, shears by up to `shear`
    degrees and shifts by up to `shift` of the side; bilinear.

    `fill` is what comes in from outside: "reflect", "border" or "zero".
    """

    mixes = False

    def __init__(
        self, *, degrees: Annotated[float, Range(0, 30)] = 10.0,
        scale: Annotated[float, Range(0.0, 0.4)] = 0.1, shear: float = 0.0,
        shift: Annotated[float, Range(0.0, 0.2)] = 0.05, fill: str = "reflect",
    ):  # fmt: skip
        self.degrees = within("jitter.affine.degrees", degrees, 0, 180)
        self.scale = within("jitter.affine.scale", scale, 0, 0.9)
        self.shear = within("jitter.affine.shear", shear, 0, 60)
        self.shift = within("jitter.affine.shift", shift, 0, 1)
        if fill not in _FILL:
            raise RecipeError(f"jitter.affine.fill = {fill!r}; give {', '.join(_FILL)}")
        self.fill = _FILL[fill]

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Images `(N, C, H, W)` moved; targets as they are."""
        return self.move(images, generator).clamp_(0, 1), targets

    def move(self, images: Tensor, generator: Generator, labels: bool = False) -> Tensor:
        """The pixels, or (`labels`) the class numbers of a mask by the nearest, moved."""
        if not images.numel():
            return images.clone()
        theta = self.matrices(images, generator)
        exact = images.float()  # grid_sample on CPU knows no half precision everywhere
        grid = nn.functional.affine_grid(
            theta.to(exact.device), list(exact.shape), align_corners=False
        )
        moved = nn.functional.grid_sample(
            exact, grid, mode="nearest" if labels else "bilinear", padding_mode=self.fill,
            align_corners=False,
        )  # fmt: skip
        return moved.to(images.dtype)

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """`(N, 2, 3)`: from a place in the new image to one in the old, sides from -1 to 1."""
        h, w = images.shape[2:]
        turn = uniform(images, generator, -self.degrees, self.degrees) * (math.pi / 180)
        size = uniform(images, generator, 1 - self.scale, 1 + self.scale)
        lean = torch.tan(uniform(images, generator, -self.shear, self.shear) * (math.pi / 180))
        right = uniform(images, generator, -2 * self.shift, 2 * self.shift)
        down = uniform(images, generator, -2 * self.shift, 2 * self.shift)
        cos, sin = torch.cos(turn) / size, torch.sin(turn) / size
        across = torch.stack([cos, (cos * lean - sin) * (h / w), right], 1)
        along = torch.stack([sin * (w / h), sin * lean + cos, down], 1)
        return torch.stack([across, along], 1)
