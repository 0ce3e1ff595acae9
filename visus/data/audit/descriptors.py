"""What an image looks like from far: a few numbers that copies share and other images do not.

The lowest frequencies of brightness and color, so that another JPEG quality or a shift by a
pixel hardly moves them. A mirror image has the same numbers but for the sign of some.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

SIDE = 32  # pixels a side that images are shrunk to before anything is compared
LUMA, CHROMA = 6, 3  # lowest frequencies kept of brightness and of either color difference
BLOCK = 2048


class Pixels(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 `(B, C, H, W)`."""
        ...


def blocks(n: int, size: int = BLOCK) -> list[Tensor]:
    """0 ... n-1 in pieces, int64."""
    return list(torch.arange(n).split(size)) if n else []


def shrunk(batch: Tensor, side: int = SIDE) -> Tensor:
    """Bytes `(B, C, H, W)` as floats in [0, 1], no side longer than `side`."""
    images = batch.float() / 255
    height, width = images.shape[2:]
    small = (min(height, side), min(width, side))
    if small == (height, width):
        return images
    return torch.nn.functional.interpolate(
        images, small, mode="bilinear", antialias=True, align_corners=False
    )


def luma(images: Tensor) -> Tensor:
    """Brightness `(B, H, W)` of images `(B, C, H, W)`, C 1 or 3 (ITU-R 601)."""
    if images.shape[1] == 1:
        return images[:, 0]
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype)
    return torch.einsum("bchw,c->bhw", images, weights)


def cosines(n: int, size: int) -> Tensor:
    """The first `n` rows of the orthonormal DCT-II of `size` points (less where size < n)."""
    k = torch.arange(min(n, size)).float()[:, None]
    rows = torch.cos(math.pi / size * (torch.arange(size).float()[None] + 0.5) * k)
    rows[0] /= math.sqrt(2)
    return rows * math.sqrt(2 / size)


def descriptor(images: Tensor) -> tuple[Tensor, Tensor]:
    """`(B, D)` for floats `(B, C, H, W)`, and the signs `(D,)` that mirror it left to right.

    Root mean square units: the distance of two descriptors is about that of the two blurred
    images, in units of [0, 1] a pixel.
    """
    y = luma(images)
    planes = [(y, LUMA)]
    if images.shape[1] == 3:
        planes += [(images[:, 2] - y, CHROMA), (images[:, 0] - y, CHROMA)]
    parts, signs = [], []
    for plane, n in planes:
        rows, columns = cosines(n, plane.shape[1]), cosines(n, plane.shape[2])
        low = torch.einsum("bhw,ih,jw->bij", plane, rows, columns)
        parts.append(low.flatten(1) / math.sqrt(plane.shape[1] * plane.shape[2]))
        odd = torch.arange(len(columns)) % 2
        signs.append((1.0 - 2.0 * odd.float()).expand(len(rows), -1).flatten())
    return torch.cat(parts, 1), torch.cat(signs)


def describe(images: Pixels) -> tuple[Tensor, Tensor]:
    """Descriptors `(n, D)` of all images, and the mirror signs."""
    found = [descriptor(shrunk(images.batch(rows))) for rows in blocks(len(images))]
    if not found:
        return torch.zeros(0, 1), torch.ones(1)
    return torch.cat([part for part, _ in found]), found[0][1]
