"""Pixels by row: held in memory, mapped from the cache file, or decoded when asked.

All three give the same bytes. Which one it is depends on where the images are and on whether
the decoded ones fit the budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from visus.data.cache import Content, Entry
from visus.data.crew import chunks, in_order
from visus.data.decoding import Block, WrongShape, decoded, likely_shape
from visus.data.found import Bad, Images, Shape, Unreadable
from visus.data.scan import Scan, bad_image
from visus.data.wish import Wish
from visus.errors import DataError

BUDGET_MB = 4096.0


class Store(Protocol):
    """Pixels by row."""

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """uint8 `(len(indices), C, H, W)`, a copy."""
        ...


@dataclass(frozen=True)
class Decoded:
    """A store, the shape of its rows, their moments, and what could not be decoded, by row."""

    store: Store
    shape: Shape
    moments: np.ndarray
    bad: dict[int, Bad]

    def take(self, keep: list[int]) -> Decoded:
        """Only the rows in `keep`."""
        return Decoded(Some(self.store, np.asarray(keep)), self.shape, self.moments[keep], {})


class Some:
    """Some rows of another store."""

    def __init__(self, store: Store, keep: np.ndarray):
        self.store, self.keep = store, keep

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Copies of the rows."""
        return self.store.rows(self.keep[indices])


class Held:
    """Decoded images in an array, in memory or mapped from the cache file."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Copies of the rows."""
        return np.asarray(np.take(self.pixels, indices, axis=0))


class OnDemand:
    """Images decoded whenever they are asked for, by `workers` threads."""

    def __init__(self, images: Images, shape: Shape, workers: int | None):
        self.images, self.shape, self.workers = images, shape, workers

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The images, decoded now; `DataError` names a file that has become unreadable."""
        out = np.empty((len(indices), *self.shape), dtype=np.uint8)
        chosen = indices.tolist()

        def work(at: int) -> None:
            try:
                out[at] = self.images.open(chosen[at]).pixels(self.shape)
            except Unreadable as error:
                raise DataError(
                    f"data: {self.images.names[chosen[at]]} cannot be read any more: {error}; "
                    "restore it, or start a new run"
                ) from None

        for _ in in_order(work, chunks(len(chosen), 8), self.workers):
            pass
        return out


def open_store(
    scan: Scan, wish: Wish, *, budget_mb: float | None = None, workers: int | None = None,
    cache: str | Path | None = None, say: Callable[[str], object] = lambda text: None,
) -> Decoded:  # fmt: skip
    """Decode all images of `scan` once, or find in the cache what came of it.

    `say` is told what had to leave the cache.
    """
    images = scan.found.images
    if images.in_memory:
        held = _into_memory(images, wish, workers)
    else:
        held = _cached(
            scan, wish, (BUDGET_MB if budget_mb is None else budget_mb) * 1e6, workers, cache, say
        )
    bad = {i: bad_image(images.names[i], reason) for i, reason in held.bad.items()}
    store = OnDemand(images, held.shape, workers) if held.pixels is None else Held(held.pixels)
    return Decoded(store, held.shape, held.moments, bad)


def _cached(
    scan: Scan, wish: Wish, budget: float, workers: int | None, cache: str | Path | None,
    say: Callable[[str], object],
) -> Content:  # fmt: skip
    entry, images = Entry.of(scan.sums, wish, cache), scan.found.images

    def fits(shape: Shape) -> bool:
        return len(scan.sums) * shape[0] * shape[1] * shape[2] <= budget

    held = entry.read()
    if held is None or (held.pixels is None and fits(held.shape)):
        _try(images, wish, lambda shape: entry.write(
            decoded(images, wish, shape, workers), shape, pixels=fits(shape), say=say))  # fmt: skip
        held = entry.read()
    if held is None:
        raise DataError(f"cache: {entry.folder} vanished while it was written; start again")
    return held if fits(held.shape) else held._replace(pixels=None)


def _try(images: Images, wish: Wish, work: Callable[[Shape], None]) -> None:
    """Do `work` with the likely shape, and once more where it was the wrong one."""
    try:
        work(likely_shape(images, wish))
    except WrongShape as error:
        work(error.shape)


def _into_memory(images: Images, wish: Wish, workers: int | None) -> Content:
    blocks: list[Block] = []
    shapes: list[Shape] = []

    def work(shape: Shape) -> None:
        shapes[:], blocks[:] = [shape], decoded(images, wish, shape, workers)

    _try(images, wish, work)
    bad, at = {}, 0
    for block in blocks:
        bad |= {at + i: reason for i, reason in block.bad.items()}
        at += len(block.pixels)
    empty = Block(np.zeros((0, *shapes[0]), np.uint8), np.zeros((0, shapes[0][0], 2), np.int64), {})
    pixels = np.concatenate([empty.pixels, *(b.pixels for b in blocks)])
    return Content(
        shapes[0], pixels, np.concatenate([empty.moments, *(b.moments for b in blocks)]), bad
    )
