"""A window of the image's own size, shifted by some pixels."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Generator, Tensor

from visus.data.jitter import jitters, within
from visus.data.jitter.draws import whole
from visus.errors import RecipeError
from visus.family import Range


@jitters.member
class Crop:
    """Shifts each image by up to `padding` pixels in both directions (He et al. 2016, section 4.2).

    What comes in from outside is the mirror image of what is at the border (`fill="reflect"`)
    or black (`fill="zero"`). The same as padding the image and cutting a window out of it.
    """

    mixes = False

    def __init__(
        self, *, padding: Annotated[int, Range(0, 3, times=True)] = 4, fill: str = "reflect"
    ):
        self.padding = int(within("jitter.crop.padding", padding, 0, 4096))
        if fill not in ("reflect", "zero"):
            raise RecipeError(f"jitter.crop.fill = {fill!r}; give 'reflect' or 'zero'")
        self.fill = fill

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Images `(N, C, H, W)` shifted; targets as they are."""
        return self.move(images, generator), targets

    def move(self, images: Tensor, generator: Generator, labels: bool = False) -> Tensor:
        """The pixels, or the class numbers of a mask, shifted."""
        down = whole(images, generator, -self.padding, self.padding).to(images.device)
        right = whole(images, generator, -self.padding, self.padding).to(images.device)
        return shifted(images, down, right, self.fill == "zero")


def shifted(images: Tensor, down: Tensor, right: Tensor, zero: bool) -> Tensor:
    """out[n, c, y, x] = images[n, c, y + down[n], x + right[n]], reflected or zero outside."""
    n, _, h, w = images.shape
    rows = torch.arange(h, device=images.device) + down.view(-1, 1)
    columns = torch.arange(w, device=images.device) + right.view(-1, 1)
    place = reflected(rows, h)[:, :, None] * w + reflected(columns, w)[:, None, :]
    out = pick(images, place.view(n, h * w))
    if zero:
        inside = inside_of(rows, h)[:, :, None] & inside_of(columns, w)[:, None, :]
        out = out * inside[:, None].to(out.dtype)
    return out


def pick(images: Tensor, place: Tensor) -> Tensor:
    """out[n, c, i] = images[n, c, place[n, i]] over flattened pixels, in the layout of `images`."""
    n, c, h, w = images.shape
    if c > 1 and images.is_contiguous(memory_format=torch.channels_last):
        first = torch.arange(n, device=images.device).view(-1, 1) * (h * w)
        pixels = images.permute(0, 2, 3, 1).reshape(n * h * w, c)
        chosen = pixels.index_select(0, (place + first).view(-1))
        return chosen.view(n, h, w, c).permute(0, 3, 1, 2)
    flat = images.reshape(n, c, h * w)
    return flat.gather(2, place[:, None].expand(n, c, h * w)).view(n, c, h, w)


def reflected(at: Tensor, n: int) -> Tensor:
    """Positions outside 0 ... n-1 mirrored at the border pixel, as often as it takes."""
    period = max(1, 2 * (n - 1))
    at = at.remainder(period)
    return torch.minimum(at, period - at) if n > 1 else at * 0


def inside_of(at: Tensor, n: int) -> Tensor:
    """Which positions lie in 0 ... n-1."""
    return (at >= 0) & (at < n)
