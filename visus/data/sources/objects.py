"""Python objects: a pair of arrays, a torch Dataset, or a dict of either by split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visus.data.arrays import Part, found_arrays
from visus.data.decode import GREY, to_mode
from visus.data.found import Found
from visus.data.listing import SPLITS
from visus.data.sources import Source, sources
from visus.errors import DataError, UsageError, unknown


@sources.member
class Objects(Source):
    """Images (n, H, W), (n, H, W, C) or (n, C, H, W) with labels, or items (image, label)."""

    takes = "a pair (images, labels), a torch Dataset, a dict of them by split"

    def fits(self, what: Any) -> bool:
        """Anything that is no path and no name."""
        if isinstance(what, Mapping):
            return True
        return _is_pair(what) or (hasattr(what, "__len__") and hasattr(what, "__getitem__")
                                  and not isinstance(what, (str, bytes)))  # fmt: skip

    def open(self, what: Any) -> Found:
        """Copies all images into memory as bytes."""
        given = what if isinstance(what, Mapping) else {"": what}
        parts = [_part(_split(key), value) for key, value in given.items()]
        classes = next((c for value in given.values() if (c := _classes(value))), None)
        return found_arrays("arrays", _named(what), parts, classes)


def _split(key: str) -> str:
    if key and key not in SPLITS:
        raise UsageError(unknown("data: split", str(key), SPLITS))
    return SPLITS.get(key, "")


def _is_pair(what: Any) -> bool:
    return isinstance(what, (tuple, list)) and len(what) == 2 and all(
        hasattr(part, "__len__") and not isinstance(part, str) for part in what
    )  # fmt: skip


def _named(what: Any) -> str:
    return "arrays" if isinstance(what, (tuple, list, Mapping)) else type(what).__name__


def _classes(what: Any) -> list[str] | None:
    found = getattr(what, "classes", None)
    return [str(name) for name in found] if isinstance(found, (list, tuple)) else None


def _part(split: str, what: Any) -> Part:
    if _is_pair(what):
        return split, _numbers(what[0]), _numbers(what[1])
    images, labels = [], []
    for i in range(len(what)):
        item = what[i]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"data: item {i} of {_named(what)} is no pair (image, label)")
        images.append(_image(item[0]))
        labels.append(item[1].item() if hasattr(item[1], "item") else item[1])
    return split, images, labels


def _image(image: Any) -> np.ndarray:
    """One image as (H, W), (H, W, C) or (C, H, W); PIL images give their bytes."""
    if hasattr(image, "convert"):
        return np.asarray(to_mode(image, 1 if image.mode in GREY else 3))
    return _numbers(image)


def _numbers(values: Any) -> Any:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return values if isinstance(values, list) else np.asarray(values)
