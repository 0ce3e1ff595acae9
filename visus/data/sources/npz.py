"""An .npz file of arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from visus.data.arrays import found_arrays, to_labels
from visus.data.found import Found
from visus.data.sources import Source, sources
from visus.errors import DataError

IMAGES = ("x", "images", "image", "data")
LABELS = ("y", "labels", "label", "targets", "target")
PARTS = {"": "", "train": "train", "val": "validation", "validation": "validation", "valid": "validation", "test": "test"}  # fmt: skip


@sources.member
class Npz(Source):
    """Keys x and y (or images and labels), or x_train, y_train, x_val, ...; `classes`, `group`."""

    takes = "an .npz file"

    def fits(self, what: Any) -> bool:
        """A file called .npz."""
        return isinstance(what, Path) and what.is_file() and what.suffix.lower() == ".npz"

    def open(self, what: Path) -> Found:
        """Reads all arrays; Python objects in the file are refused, not loaded."""
        arrays = _load(what)
        parts = []
        for key, images in arrays.items():
            split = _split(key, IMAGES)
            if split is not None:
                parts.append((PARTS[split], images, arrays[_labels(what, arrays, split)]))
        if not parts:
            raise DataError(
                f"data: {what} holds {', '.join(arrays) or 'nothing'}; it needs x and y, or "
                "x_train, y_train, x_test, y_test"
            )
        groups = to_labels(arrays["group"], f"{what}: group") if "group" in arrays else None
        classes = to_labels(arrays["classes"], f"{what}: classes") if "classes" in arrays else None
        return found_arrays(what.stem, str(what), parts, classes, groups)


def _load(what: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(what, allow_pickle=False) as file:
            return {key.lower(): file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        if "allow_pickle" in str(error) or "pickled" in str(error):
            error = "it holds Python objects; save plain arrays of numbers or texts"
        raise DataError(f"data: cannot read {what}: {error}") from None


def _split(key: str, words: tuple[str, ...]) -> str | None:
    """The part of the key that names a split: "x_train" and "train_images" give "train"."""
    for word in words:
        for split in PARTS:
            if key in (f"{word}_{split}".strip("_"), f"{split}_{word}".strip("_")):
                return split
    return None


def _labels(what: Path, arrays: dict[str, np.ndarray], split: str) -> str:
    for key in arrays:
        if _split(key, LABELS) == split:
            return key
    raise DataError(
        f"data: {what} has images but no labels for {split or 'them'} (y{'_' * bool(split)}{split})"
    )
