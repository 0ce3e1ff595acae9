"""CIFAR-10 and CIFAR-100: 60,000 color images of 32x32, from their binary archives.

The binary form and not the pickled one: nothing in it could run code.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np

from visus.data.arrays import found_arrays
from visus.data.download import fetch
from visus.data.found import Found
from visus.data.sources import Source, sources
from visus.errors import DataError

BASE = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32
SHA256 = {
    "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
}
# archive, file of class names, bytes before the pixels (the last of them is the class), train files
FORMS = {
    "cifar10": ("cifar-10-binary.tar.gz", "batches.meta.txt", 1,
                [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin"),
    "cifar100": ("cifar-100-binary.tar.gz", "fine_label_names.txt", 2, ["train.bin"], "test.bin"),
}  # fmt: skip


@sources.member
class Cifar(Source):
    """Krizhevsky 2009. train and test as published; CIFAR-100 with its 100 fine classes."""

    names = ("cifar10", "cifar100")

    def open(self, what: str) -> Found:
        """50,000 train and 10,000 test images, downloaded once."""
        archive, names, before, train, test = FORMS[what]
        path = fetch(what, archive, BASE, SHA256[archive])
        held = _members(path, [names, *train, test])
        classes = held[names].decode().split()
        files = {"train": b"".join(held[name] for name in train), "test": held[test]}
        parts = [(split, *_records(path, data, before)) for split, data in files.items()]
        return found_arrays(what, what, parts, classes)


def _members(path: Path, wanted: list[str]) -> dict[str, bytes]:
    """The wanted files of the archive by their last name, read into memory, never unpacked."""
    held: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name in wanted and (file := archive.extractfile(member)):
                    held[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"data: cannot read {path}: {error}; remove it to get it anew") from None
    for name in wanted:
        if name not in held:
            raise DataError(f"data: {path} holds no {name}; remove it to get it anew")
    return held


def _records(path: Path, data: bytes, before: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels (n,) from records of label bytes and pixels."""
    rows, rest = divmod(len(data), before + PIXELS)
    if rest:
        raise DataError(f"data: {path} ends inside a record; remove it to get it anew")
    table = np.frombuffer(data, np.uint8).reshape(rows, before + PIXELS)
    return table[:, before:].reshape(rows, 3, 32, 32), table[:, before - 1]
