"""The two kinds of images: files on disk, and arrays in memory."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from visus.data import decode
from visus.data.found import Look, Shape, Unreadable

MAX_BYTES = 512 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: str | Path) -> bytes:
    """The whole file; raises `Unreadable` with the reason. A pipe or device does not hang it."""
    try:
        handle = os.open(path, _FLAGS)
        try:
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                raise Unreadable("a folder, not a file")
            if not stat.S_ISREG(found.st_mode):
                raise Unreadable("not a regular file")
            if found.st_size > MAX_BYTES:
                raise Unreadable(f"{found.st_size:,} bytes, more than {MAX_BYTES:,}")
            return _all(handle, found.st_size)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise Unreadable("no such file (or a link to nothing)") from None
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from None


def _all(handle: int, size: int) -> bytes:
    data = os.read(handle, size)
    while len(data) < size and (more := os.read(handle, size - len(data))):
        data += more
    return data


class Files:
    """Image files: `names` as people know them (relative, with /), `paths` to open."""

    in_memory = False

    def __init__(self, names: list[str], paths: Sequence[str | Path]):
        self.names, self.paths = names, [os.fspath(path) for path in paths]

    def checksum(self, i: int) -> str:
        """The sha256 of the file."""
        return hashlib.sha256(read_bytes(self.paths[i])).hexdigest()

    def open(self, i: int) -> decode.Encoded:
        """The image, header read."""
        return decode.Encoded(decode.open_image(read_bytes(self.paths[i])))

    def take(self, keep: Sequence[int]) -> Files:
        """Only the files in `keep`."""
        return Files([self.names[i] for i in keep], [self.paths[i] for i in keep])


class Plain:
    """One image in memory, uint8 `(C, H, W)`, as a `Picture`."""

    def __init__(self, array: np.ndarray):
        self.array = array

    @property
    def look(self) -> Look:
        """Size and greyness."""
        return Look((self.array.shape[1], self.array.shape[2]), len(self.array) == 1)

    def pixels(self, shape: Shape) -> np.ndarray:
        """The image with the wanted channels and size."""
        if self.array.shape == shape:
            return self.array
        planes = self.array[0] if len(self.array) == 1 else self.array.transpose(1, 2, 0)
        return decode.to_pixels(Image.fromarray(np.ascontiguousarray(planes)), shape)


class Arrays:
    """Images in memory: a uint8 array `(n, C, H, W)`, or a list of such `(C, H, W)`, C 1 or 3."""

    in_memory = True

    def __init__(self, names: list[str], arrays: np.ndarray | list[np.ndarray]):
        self.names, self.arrays = names, arrays

    def checksum(self, i: int) -> str:
        """The sha256 of shape and pixels."""
        array = np.ascontiguousarray(self.arrays[i])
        digest = hashlib.sha256(repr(array.shape).encode())
        digest.update(array.data)
        return digest.hexdigest()

    def open(self, i: int) -> Plain:
        """The image."""
        return Plain(self.arrays[i])

    def take(self, keep: Sequence[int]) -> Arrays:
        """Only the images in `keep`."""
        names = [self.names[i] for i in keep]
        if isinstance(self.arrays, np.ndarray):
            return Arrays(names, self.arrays[np.asarray(keep, dtype=np.int64)])
        return Arrays(names, [self.arrays[i] for i in keep])
