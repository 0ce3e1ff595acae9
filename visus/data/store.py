"""The second pass: every image decoded once, into memory, a file mapped into memory, or to check.

A store gives rows of pixels, `rows(indices) -> uint8 (B, C, H, W)`. It is an array (images that
were in memory), the cache file (decoded images that fit the budget) or the files themselves,
decoded when asked by a few threads. All three give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from visus.data import cache as caches
from visus.data.crew import chunks, in_order
from visus.data.found import Bad, Images, Size, Unreadable
from visus.data.scan import Scan, bad_image
from visus.errors import DataError

BUDGET_MB = 4096.0


class Store(Protocol):
    """Pixels by row."""

    shape: tuple[int, int, int]

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """uint8 `(len(indices), C, H, W)`, a copy."""
        ...


@dataclass(frozen=True)
class Decoded:
    """A store, the moments of each row, and what could not be decoded, by row number.

    `moments` is int64 `(n, C, 2)`: sum and sum of squares of each plane, exact.
    """

    store: Store
    moments: np.ndarray
    bad: dict[int, Bad]


class Held:
    """Decoded images in an array, in memory or mapped from the cache file."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self.shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Copies of the rows."""
        return np.take(self.pixels, indices, axis=0)


class OnDemand:
    """Images decoded whenever they are asked for, by `workers` threads."""

    def __init__(self, images: Images, shape: tuple[int, int, int], workers: int | None):
        self.images, self.shape, self.workers = images, shape, workers

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The images, decoded now; `DataError` names a file that has become unreadable."""
        out = np.empty((len(indices), *self.shape), dtype=np.uint8)
        chosen, (channels, *size) = indices.tolist(), self.shape

        def work(at: int) -> None:
            out[at] = self.images.pixels(chosen[at], channels, (size[0], size[1]))

        try:
            for _ in in_order(work, chunks(len(chosen), 8), self.workers):
                pass
        except Unreadable as error:
            raise DataError(
                f"data: an image cannot be read any more: {error}; restore it or start again"
            ) from None
        return out


def open_store(
    scan: Scan, shape: tuple[int, Size], *, budget_mb: float | None = None,
    workers: int | None = None, cache: str | Path | None = None,
) -> Decoded:  # fmt: skip
    """Decode all images of `scan` once, or find them decoded in the cache."""
    channels, size = shape
    images, full = scan.found.images, (channels, *size)
    need = len(scan.headers) * channels * size[0] * size[1]
    if images.in_memory:
        return _into_memory(images, len(scan.headers), full, workers)
    keep = need <= (BUDGET_MB if budget_mb is None else budget_mb) * 1e6
    entry = caches.Entry.of([h.sha256 for h in scan.headers], full, pixels=keep, folder=cache)
    if not entry.exists():
        entry.write(_decoded(images, len(scan.headers), full, workers))
    held = entry.read()
    if held.pixels is None:
        return Decoded(OnDemand(images, full, workers), held.moments, _named(images, held.bad))
    return Decoded(Held(held.pixels), held.moments, _named(images, held.bad))


def _named(images: Images, bad: dict[int, str]) -> dict[int, Bad]:
    return {i: bad_image(images.names[i], reason) for i, reason in bad.items()}


def _into_memory(images: Images, n: int, full: tuple[int, int, int], workers: Any) -> Decoded:
    pixels = np.empty((n, *full), dtype=np.uint8)
    moments, bad, at = np.zeros((n, full[0], 2), dtype=np.int64), {}, 0
    for block in _decoded(images, n, full, workers):
        end = at + len(block.pixels)
        pixels[at:end], moments[at:end] = block.pixels, block.moments
        bad |= {at + i: bad_image(images.names[at + i], why) for i, why in block.bad.items()}
        at = end
    return Decoded(Held(pixels), moments, bad)


def _decoded(
    images: Images, n: int, full: tuple[int, int, int], workers: int | None
) -> Iterator[caches.Block]:
    """All images in order, a block at a time; an unreadable one leaves zeros and its reason."""
    channels, size = full[0], (full[1], full[2])
    parts = chunks(n, max(1, min(256, (8 << 20) // max(1, channels * size[0] * size[1]))))

    def work(i: int) -> np.ndarray | str:
        try:
            return images.pixels(i, channels, size)
        except Unreadable as error:
            return str(error)

    for rows in in_order(work, parts, workers):
        yield _block(rows, full)


def _block(rows: list[np.ndarray | str], full: tuple[int, int, int]) -> caches.Block:
    pixels = np.zeros((len(rows), *full), dtype=np.uint8)
    bad: dict[int, str] = {}
    for i, row in enumerate(rows):
        if isinstance(row, str):
            bad[i] = row
        else:
            pixels[i] = row
    return caches.Block(pixels, plane_moments(pixels), bad)


def plane_moments(pixels: np.ndarray) -> np.ndarray:
    """Sum and sum of squares of each plane, int64 `(n, C, 2)`: exact, and they add up."""
    planes = pixels.reshape(*pixels.shape[:2], -1)
    wide = planes.astype(np.float64)  # exact up to 2^53, and dot products of it are fast
    squares = np.einsum("ncs,ncs->nc", wide, wide)
    return np.stack([wide.sum(-1), squares], axis=-1).astype(np.int64)
