"""Channels and size to decode to: as told, else chosen from what the images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visus.data.found import Look, Shape, Size

SMALL = 96  # sides up to here are kept as they are when all images agree
SIDE = 64  # the side of larger or mixed images, at most


@dataclass(frozen=True)
class Wish:
    """What was asked for; None is to be chosen."""

    channels: int | None = None
    size: Size | None = None

    @property
    def open(self) -> bool:
        """Whether anything is left to choose."""
        return self.channels is None or self.size is None

    def shape(self, looks: Sequence[Look]) -> Shape:
        """(C, H, W): grey where every image is grey, else color; the size by `choose_size`."""
        channels = self.channels or (1 if all(look.grey for look in looks) else 3)
        return channels, *(self.size or choose_size([look.size for look in looks]))


def choose_size(sizes: Sequence[Size]) -> Size:
    """The common size where all images have one of at most 96 x 96; else a square.

    Its side is the median short side, at most 64, in steps of 8.
    """
    if not sizes:
        return SIDE, SIDE
    if len(set(sizes)) == 1 and max(sizes[0]) <= SMALL:
        return sizes[0]
    side = min(SIDE, sorted(min(size) for size in sizes)[len(sizes) // 2])
    side = side - side % 8 if side >= 8 else side
    return side, side
