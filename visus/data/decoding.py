"""All images of a source decoded in order, by a few threads, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from visus.data.crew import chunks, in_order
from visus.data.found import Images, Look, Shape, Unreadable
from visus.data.wish import Wish

SAMPLE = 256  # images whose headers tell the likely shape
BLOCK = 8 << 20  # bytes


class Block(NamedTuple):
    """Some images in a row. An image that could not be decoded is zeros, its reason in `bad`.

    `moments` int64 `(n, C, 2)`: sum and sum of squares of each plane.
    """

    pixels: np.ndarray
    moments: np.ndarray
    bad: dict[int, str]


class WrongShape(Exception):
    """The images are not what the sample of them looked like; holds the shape to decode to."""

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.shape = shape


def likely_shape(images: Images, wish: Wish) -> Shape:
    """The shape that a sample of the headers asks for."""
    n = len(images.names)
    looks = []
    for i in range(0, n, max(1, n // SAMPLE)) if wish.open else ():
        try:
            looks.append(images.open(i).look)
        except Unreadable:
            continue
    return wish.shape(looks)


def decoded(images: Images, wish: Wish, shape: Shape, workers: int | None) -> Iterator[Block]:
    """Every image, opened and decoded once; `WrongShape` at the end if `shape` was a wrong guess."""
    image_bytes = max(1, shape[0] * shape[1] * shape[2])
    parts = chunks(len(images.names), max(1, min(128, BLOCK // image_bytes)))

    def work(i: int) -> tuple[Look, np.ndarray] | str:
        try:
            picture = images.open(i)
            look = picture.look  # before pixels(): decoding may reduce the image
            return look, picture.pixels(shape)
        except Unreadable as error:
            return str(error)

    looks: list[Look] = []
    for rows in in_order(work, parts, workers):
        looks += [row[0] for row in rows if not isinstance(row, str)]
        yield _block(rows, shape)
    if looks and (real := wish.shape(looks)) != shape:
        raise WrongShape(real)


def _block(rows: list[tuple[Look, np.ndarray] | str], shape: Shape) -> Block:
    pixels = np.zeros((len(rows), *shape), dtype=np.uint8)
    bad: dict[int, str] = {}
    for i, row in enumerate(rows):
        if isinstance(row, str):
            bad[i] = row
        else:
            pixels[i] = row[1]
    return Block(pixels, plane_moments(pixels), bad)


def plane_moments(pixels: np.ndarray) -> np.ndarray:
    """Sum and sum of squares of each plane, int64 `(n, C, 2)`: exact, and they add up."""
    wide = pixels.reshape(*pixels.shape[:2], -1).astype(np.float64)  # exact up to 2^53
    squares = np.einsum("ncs,ncs->nc", wide, wide)
    return np.stack([wide.sum(-1), squares], axis=-1).astype(np.int64)
