"""Masks of segmentation: index or colour pictures beside the images, to class numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from visus.data.found import Size, Unreadable
from visus.data.inputs import read_bytes
from visus.errors import DataError

IGNORED = 255
VOID = {"void", "ignore", "ignored", "unlabeled", "unlabelled"}
INDEX = {"1", "L", "P"}


class Legend:
    """What the values of masks mean: the names, the colours where masks are colour pictures.

    `table` is a lookup from a byte of an index mask to a class number, 255 where it is ignored.
    """

    def __init__(self, names: list[str], colors: list[tuple[int, int, int]] | None = None):
        self.names = [name for name in names if name.lower() not in VOID]
        place = {name: k for k, name in enumerate(self.names)}
        self.numbers = [place.get(name, IGNORED) for name in names]
        self.table = np.full(256, -1, np.int16)
        self.table[: len(names)] = self.numbers
        self.table[IGNORED] = IGNORED
        self.colors = None if colors is None else np.asarray(colors, np.int64) @ (65536, 256, 1)

    def numbered(self, array: np.ndarray, name: str) -> np.ndarray:
        """uint8 class numbers of a mask as it was read; `DataError` for a value without a class."""
        if array.ndim == 2:
            found = self.table[array]
            self._known(found >= 0, array, name)
            return found.astype(np.uint8)
        if self.colors is None:
            raise DataError(
                f"mask {name}: a colour picture; name the colours in classes.csv "
                "(name,red,green,blue) beside the folders, or save masks as index pictures"
            )
        code = array[..., :3].astype(np.int64) @ (65536, 256, 1)
        order = np.argsort(self.colors)
        at = np.clip(np.searchsorted(self.colors[order], code), 0, len(order) - 1)
        self._known(self.colors[order][at] == code, array, name)
        return np.asarray(self.numbers, np.uint8)[order[at]]

    def _known(self, known: np.ndarray, array: np.ndarray, name: str) -> None:
        if not known.all():
            y, x = np.argwhere(~known)[0]
            raise DataError(
                f"mask {name}: value {array[y, x].tolist()} at row {y}, column {x} is no class of "
                f"{', '.join(self.names[:8])}; add it to the classes file or mend the mask"
            )


class MaskFiles:
    """Mask files by image; `read(i, size)` gives uint8 class numbers, 255 where to ignore."""

    def __init__(
        self, names: list[str], paths: Sequence[str], images: Sequence[str], legend: Legend
    ):
        self.names, self.paths, self.images, self.legend = names, list(paths), list(images), legend

    def take(self, keep: Sequence[int]) -> MaskFiles:
        """Only the masks in `keep`."""
        names, paths, images = (
            [row[i] for i in keep] for row in (self.names, self.paths, self.images)
        )
        return MaskFiles(names, paths, images, self.legend)

    def read(self, i: int, size: Size) -> np.ndarray:
        """The mask cut and resized as its image is, by the nearest pixel."""
        array = raw(self.paths[i], self.names[i])
        with Image.open(io.BytesIO(read_bytes(self.images[i]))) as image:
            width, height = image.size
        if array.shape[:2] != (height, width):
            raise DataError(
                f"mask {self.names[i]}: {array.shape[1]} x {array.shape[0]} pixels, its image has "
                f"{width} x {height}; save both in one size"
            )
        return fitted(self.legend.numbered(array, self.names[i]), size)


class MaskArrays:
    """Masks in memory, `(n, H, W)` whole numbers."""

    def __init__(self, arrays: np.ndarray, legend: Legend):
        self.arrays, self.legend = arrays, legend

    def take(self, keep: Sequence[int]) -> MaskArrays:
        """Only the masks in `keep`."""
        return MaskArrays(self.arrays[np.asarray(keep, int)], self.legend)

    def read(self, i: int, size: Size) -> np.ndarray:
        """The mask cut and resized as its image is, by the nearest pixel."""
        return fitted(self.legend.numbered(self.arrays[i], f"number {i}"), size)


def raw(path: str, name: str) -> np.ndarray:
    """The mask as it is stored: `(H, W)` indices or `(H, W, 3)` colours."""
    try:
        image = Image.open(io.BytesIO(read_bytes(path)))
        image.load()
        if image.mode not in INDEX and not image.mode.startswith(("RGB", "I")):
            image = image.convert("L")
        array = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Unreadable, Image.DecompressionBombError) as error:
        raise DataError(f"mask {name}: cannot be read: {error}; mend or remove the pair") from None
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.ndim == 2 and array.dtype != np.uint8:
        if array.min() < 0 or array.max() > IGNORED:
            raise DataError(f"mask {name}: values up to {array.max()}; class numbers are 0 to 255")
        return array.astype(np.uint8)
    return array


def fitted(mask: np.ndarray, size: Size) -> np.ndarray:
    """The short side resized and the centre cut out, as `decode.fit` does, by nearest pixels."""
    (height, width), (h, w) = size, mask.shape
    if (h, w) == (height, width):
        return mask
    scale = min(h / height, w / width)
    across, down = width * scale, height * scale
    left, top = (w - across) / 2, (h - down) / 2
    box = (left, top, left + across, top + down)
    image = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST, box=box)
    return np.asarray(image)


def legend_of(folder: Path, paths: Sequence[str]) -> Legend:
    """From classes.csv or classes.txt in `folder`; else a class for each value that occurs."""
    for name in ("classes.csv", "classes.txt"):
        if (folder / name).is_file():
            return _written(folder / name)
    highest = 0
    for path in paths:
        array = raw(path, Path(path).name)
        if array.ndim == 2:
            known = array[array != IGNORED]
            highest = max(highest, int(known.max()) if known.size else 0)
        else:
            return Legend([])
    return Legend([str(k) for k in range(highest + 1)])


def _written(path: Path) -> Legend:
    rows = [row for row in csv.reader(path.read_text("utf-8-sig").splitlines()) if row]
    rows = (
        rows[1:] if rows and [c.strip().lower() for c in rows[0][:2]] == ["name", "red"] else rows
    )
    try:
        names = [row[0].strip() for row in rows]
        colors = (
            [(int(r[1]), int(r[2]), int(r[3])) for r in rows] if rows and len(rows[0]) > 3 else None
        )
    except (ValueError, IndexError):
        raise DataError(f"masks: {path} is no table name,red,green,blue; mend it") from None
    if len(set(names)) != len(names) or len(names) < 2:
        raise DataError(f"masks: {path} names {len(names)} classes; give two or more, each once")
    return Legend(names, colors)
