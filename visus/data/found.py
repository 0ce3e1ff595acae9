"""What a source hands over before anything is decoded: names, labels, splits, groups, images.

Images are reached through two methods, `checksum(i)` and `open(i)`; files and arrays both have
them, so that nothing above asks which of the two it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from visus.errors import UsageError, nearest

Size = tuple[int, int]  # (height, width)
Shape = tuple[int, int, int]  # (channels, height, width)


class Unreadable(Exception):
    """One image cannot be used; the text is the reason. Never leaves this package."""


class Bad(NamedTuple):
    """A file that was left out and why. `image` tells whether it claims to be an image."""

    name: str
    reason: str
    image: bool = True


class Look(NamedTuple):
    """What an image is before it is converted; `size` as it is seen, rotation applied."""

    size: Size
    grey: bool


class Picture(Protocol):
    """An opened image."""

    @property
    def look(self) -> Look:
        """Known without decoding."""
        ...

    def pixels(self, shape: Shape) -> np.ndarray:
        """Decoded to uint8 of `shape` (C, H, W); raises `Unreadable`."""
        ...


class Images(Protocol):
    """A sequence of images by number."""

    names: list[str]
    in_memory: bool

    def checksum(self, i: int) -> str:
        """The sha256 of image `i`; raises `Unreadable`."""
        ...

    def open(self, i: int) -> Picture:
        """Image `i`, header read; raises `Unreadable`."""
        ...

    def take(self, keep: Sequence[int]) -> Images:
        """The same kind of images, only those in `keep`."""
        ...


@dataclass(frozen=True)
class Found:
    """All images of a source, one entry an image in each column.

    `splits` holds "train", "validation", "test" or "" (not given), `groups` a name or "".
    `strays` are files that lie about and are no labelled images: named, not counted.
    """

    name: str
    source: str
    images: Images
    labels: list[str]
    splits: list[str]
    groups: list[str]
    strays: list[Bad] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    truth: Any = None  # a `Truth` where more than a class is asked of an image
    poses: str = "classification"  # what one class an image means: "dichotomy" for 0 and 1

    def __post_init__(self) -> None:
        if not self.classes:
            object.__setattr__(self, "classes", in_order(set(self.labels)))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, keep: Sequence[int]) -> Found:
        """Only the images in `keep`; the classes stay."""
        columns = {c: [getattr(self, c)[i] for i in keep] for c in ("labels", "splits", "groups")}
        truth = self.truth.take(keep) if self.truth is not None else None
        return replace(self, images=self.images.take(keep), truth=truth, **columns)

    def without(self, drop: Iterable[str]) -> Found:
        """Leave out whole classes; a class that is not there is an error with the nearest."""
        dropped = set(drop)
        for name in dropped:
            if name not in self.classes:
                close = nearest(name, self.classes)
                hint = f"; did you mean '{close}'?" if close else f" in {self.source}"
                raise UsageError(f"data.drop: no class '{name}'{hint}")
        if not dropped:
            return self
        kept = [c for c in self.classes if c not in dropped]
        keep = [i for i, label in enumerate(self.labels) if label not in dropped]
        return replace(self.take(keep), classes=kept)


def in_order(names: Iterable[str]) -> list[str]:
    """Names as a person sorts them: 2 before 10, then by letter."""
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple:
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p), name
