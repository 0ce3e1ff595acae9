"""Arrays as people have them, to what visus holds: uint8 images (n, C, H, W) and class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visus.data.asked import form_of
from visus.data.decode import narrow
from visus.data.found import Found, Unreadable, in_order
from visus.data.inputs import Arrays
from visus.data.masks import IGNORED, Legend, MaskArrays
from visus.data.truth import Truth, with_truth
from visus.errors import DataError

Part = tuple[str, Any, Any]  # split ("" for none), images, labels


def found_arrays(
    name: str, source: str, parts: Sequence[Part], classes: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Found:  # fmt: skip
    """One `Found` from arrays of one or several splits.

    `classes` names the classes of whole-number labels. Images are called after their split and
    place in it: train-000012.
    """
    planes, labels, splits, names = [], [], [], []
    truth = truth_of_arrays(source, parts, classes)
    for split, images, targets in parts:
        place = f"{source}: {split or 'images'}"
        array = to_images(images, place)
        words = [""] * len(targets) if truth else to_labels(targets, place, classes)
        if len(array) != len(words):
            raise DataError(f"{place}: {len(array)} images but {len(words)} labels")
        planes.append(array)
        labels += words
        splits += [split] * len(words)
        names += [f"{split or 'image'}-{i:06d}" for i in range(len(words))]
    empty = list(groups) if groups is not None else [""] * len(labels)
    if len(empty) != len(labels):
        raise DataError(f"{source}: {len(labels)} images but {len(empty)} groups")
    known = [c for c in classes if c in set(labels)] if classes else in_order(set(labels))
    images = Arrays(names, _joined(planes))
    found = Found(name, source, images, labels, splits, empty, [], known)
    return found if truth is None else with_truth(found, truth)


def truth_of_arrays(
    source: str, parts: Sequence[Part], classes: Sequence[str] | None = None
) -> Truth | None:
    """Targets beyond one class: float numbers, several columns, masks; None for classes."""
    arrays = [np.asarray(targets) for _, _, targets in parts]
    if any(a.dtype.kind not in "fiub" for a in arrays) or len({a.shape[1:] for a in arrays}) != 1:
        return None
    rows = np.concatenate(arrays)
    if rows.ndim == 3 and rows.dtype.kind in "iub":
        return _masks(source, rows, parts, classes)
    if rows.ndim == 1 and (rows.dtype.kind != "f" or not _fractional(rows)):
        return None
    if rows.ndim == 2 and rows.shape[1] == 1 and not _fractional(rows):
        return None
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not len(rows) or not rows.shape[1]:
        return None
    if not np.isfinite(rows).all():
        i = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise DataError(f"{source}: labels are missing: target {i} is not a finite number")
    form = form_of(rows)
    named = list(classes) if classes and len(classes) == rows.shape[1] else None
    names = named or (["target"] if rows.shape[1] == 1 else [str(k) for k in range(rows.shape[1])])
    return None if form == "classes" else Truth(form, names, rows.astype(np.float32))


def _fractional(rows: np.ndarray) -> bool:
    known = rows[np.isfinite(rows)]
    return bool((known != np.rint(known)).any())


def _masks(
    source: str, rows: np.ndarray, parts: Sequence[Part], classes: Sequence[str] | None
) -> Truth:
    for split, images, masks in parts:
        shape = np.shape(images)
        if np.shape(masks)[1:] not in (shape[1:3], shape[2:4]):
            raise DataError(
                f"{source}: masks of {split or 'images'} have shape {np.shape(masks)}, the images "
                f"{shape}; give masks (n, H, W) of the size of the images"
            )
    if rows.min(initial=0) < 0 or rows.max(initial=0) > IGNORED:
        raise DataError(f"{source}: masks hold values beyond 0 to 255; 255 is ignored")
    rows = rows.astype(np.uint8)
    highest = int(rows[rows != IGNORED].max(initial=0))
    names = list(classes) if classes else [str(k) for k in range(highest + 1)]
    legend = Legend(names)
    return Truth("masks", legend.names, MaskArrays(rows, legend))


def _joined(planes: list[Any]) -> Any:
    if all(isinstance(p, np.ndarray) for p in planes) and len({p.shape[1:] for p in planes}) == 1:
        return planes[0] if len(planes) == 1 else np.concatenate(planes)
    return [image for part in planes for image in part]


def to_images(images: Any, place: str) -> np.ndarray | list[np.ndarray]:
    """uint8 `(n, C, H, W)`, or a list of `(C, H, W)` where sizes differ."""
    if isinstance(images, list) and len({np.shape(image) for image in images}) != 1:
        return [_planes(np.asarray(image)[None], place)[0] for image in images]
    return _planes(np.asarray(images), place)


def _planes(array: np.ndarray, place: str) -> np.ndarray:
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4:
        raise DataError(
            f"{place}: shape {array.shape}; images have shape (n, H, W), (n, H, W, C) or (n, C, H, W)"
        )
    if array.shape[1] not in (1, 3, 4):
        if array.shape[3] not in (1, 3, 4):
            raise DataError(f"{place}: shape {array.shape} has no axis of 1, 3 or 4 channels")
        array = array.transpose(0, 3, 1, 2)
    return _opaque(_bytes(array, place))


def _bytes(array: np.ndarray, place: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise DataError(f"{place}: values of type {array.dtype}; images are numbers")
    wide = array.dtype.kind == "f" or array.dtype == np.uint16
    if not wide and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    try:
        return narrow(array)
    except Unreadable as error:
        raise DataError(
            f"{place}: {error}; give uint8 0 to 255, uint16, or floats 0 to 1 (before normalization)"
        ) from None


def _opaque(array: np.ndarray) -> np.ndarray:
    """Four channels are RGB and alpha: transparent pixels show white, as in files."""
    if array.shape[1] != 4:
        return np.ascontiguousarray(array)
    color, alpha = array[:, :3].astype(np.float32), array[:, 3:].astype(np.float32) / 255
    return np.rint(color * alpha + 255 * (1 - alpha)).astype(np.uint8)


def to_labels(targets: Any, place: str, classes: Sequence[str] | None = None) -> list[str]:
    """Class names from whole numbers, texts, or one-hot rows; none may be missing."""
    array = np.asarray(targets)
    if array.dtype.kind == "O":
        raise DataError(f"{place}: labels are Python objects; give whole numbers or texts")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and _one_hot(array):
        array = array.argmax(1)
    if array.ndim != 1:
        raise DataError(f"{place}: labels have shape {array.shape}; give one label an image")
    if array.dtype.kind in "SU":
        return _texts(array, place)
    if array.dtype.kind == "f" and not (
        np.isfinite(array).all() and (array == np.rint(array)).all()
    ):
        raise DataError(f"{place}: labels are missing (nan) or no whole numbers")
    return [_named(int(k), classes) for k in array.tolist()]


def _one_hot(array: np.ndarray) -> bool:
    return bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())


def _texts(array: np.ndarray, place: str) -> list[str]:
    words = [w.decode("utf-8", "replace") if isinstance(w, bytes) else w for w in array.tolist()]
    if "" in words:
        raise DataError(
            f"{place}: label {words.index('')} is empty; fill it or leave the image out"
        )
    return words


def _named(k: int, classes: Sequence[str] | None) -> str:
    return str(classes[k]) if classes is not None and 0 <= k < len(classes) else str(k)
