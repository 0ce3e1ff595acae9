"""What is asked of each image where it is not one class: numbers, labels, shares, masks, pairs.

`Truth` stands beside the images of a `Found`, one row an image. Its form names the task it
naturally poses; `recast` reads the same data as another task where that has sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visus.data.found import Found, Size
from visus.errors import DataError, UsageError

NATURAL = {
    "classes": "classification", "values": "regression", "flags": "multi-label",
    "shares": "distribution", "masks": "segmentation", "pairs": "ranking",
}  # fmt: skip
SAID = {
    "classes": "one class an image", "values": "numbers", "flags": "several labels an image",
    "shares": "shares of classes", "masks": "masks", "pairs": "pairs better, worse",
}  # fmt: skip
BINS = 5  # ranges of a number within which images are divided evenly


@dataclass(frozen=True)
class Truth:
    """`form` is a key of `NATURAL`; `names` are those of the columns (or of the pixel classes).

    `rows` float `(n, T)`, for masks an object with `read(i, size) -> uint8 (H, W)`; `pairs`
    whole numbers `(m, 2)`: images by place, the better first, and the split of each pair.
    """

    form: str
    names: list[str]
    rows: Any
    pairs: np.ndarray | None = None
    pair_splits: tuple[str, ...] = ()

    def take(self, keep: Sequence[int]) -> Truth:
        """Only the images in `keep`; pairs that lose an image are gone."""
        rows = (
            self.rows.take(keep) if hasattr(self.rows, "read") else self.rows[np.asarray(keep, int)]
        )
        if self.pairs is None:
            return replace(self, rows=rows)
        place = {old: new for new, old in enumerate(keep)}
        kept = [i for i, (a, b) in enumerate(self.pairs.tolist()) if a in place and b in place]
        pairs = [[place[a], place[b]] for a, b in self.pairs[kept].tolist()]
        splits = tuple(self.pair_splits[i] for i in kept)
        return replace(
            self, rows=rows, pairs=np.asarray(pairs, int).reshape(-1, 2), pair_splits=splits
        )

    def tensor(self, rows: Sequence[int], size: Size) -> Tensor:
        """The targets of some images: float32 `(n, T)`, or uint8 masks `(n, H, W)`, 255 ignored."""
        if not hasattr(self.rows, "read"):
            return torch.from_numpy(np.asarray(self.rows, np.float32)[np.asarray(rows, int)].copy())
        masks = np.empty((len(rows), *size), np.uint8)
        for k, i in enumerate(rows):
            masks[k] = self.rows.read(i, size)
        return torch.from_numpy(masks)


def task_of(found: Found) -> str:
    """The task that the data poses by itself."""
    if found.truth is not None:
        return NATURAL[found.truth.form]
    return found.poses


def recast(found: Found, task: str) -> Found:
    """`found` as `task` reads it ("auto": as it is); raises `UsageError` where it cannot be."""
    form = found.truth.form if found.truth else "classes"
    if task == "auto" or task == NATURAL[form] or (form, task) in _SAME:
        return _ready(found, task)
    if (form, task) not in _CASTS:
        asked = " or ".join(sorted({SAID[f] for f, t in [*_CASTS, *_SAME, *_OWN] if t == task}))
        raise UsageError(
            f"task: {found.source} holds {SAID[form]}, and {task} needs {asked or 'other data'}; "
            f"leave task.name out for {task_of(found)}"
        )
    return _CASTS[form, task](found)


def _ready(found: Found, task: str) -> Found:
    if task == "dichotomy" and len(found.classes) != 2:
        raise UsageError(
            f"task: {found.source} has {len(found.classes)} classes, a dichotomy has two; drop the "
            "others with --set data.drop=NAME"
        )
    return found


def with_truth(found: Found, truth: Truth) -> Found:
    """`found` with `truth`, its labels the strata within which it is divided."""
    labels, classes = strata(truth, len(found.labels))
    return replace(found, labels=labels, classes=classes, truth=truth)


def strata(truth: Truth, n: int) -> tuple[list[str], list[str]]:
    """A label for each image, so that each split gets its share: ranges of the first number."""
    bins = min(BINS, n // 20)
    if truth.form != "values" or bins < 2:
        return [f"all {truth.form}"] * n, [f"all {truth.form}"]
    first = np.asarray(truth.rows)[:, 0].astype(float)
    edges = np.unique(np.quantile(first, np.linspace(0, 1, bins + 1)))
    if len(edges) < 3:
        return ["all values"] * n, ["all values"]
    names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
    place = np.clip(np.searchsorted(edges, first, side="right") - 1, 0, len(names) - 1)
    kept = [names[k] for k in sorted(set(place.tolist()))]
    return [names[k] for k in place.tolist()], kept


def _numbers(found: Found) -> Found:
    """Classes called by numbers, as numbers."""
    values = []
    for name in found.labels:
        try:
            values.append([float(name)])
        except ValueError:
            raise DataError(
                f"task: class '{name}' of {found.source} is no number; give numbers as targets"
            ) from None
    return with_truth(found, Truth("values", ["target"], np.asarray(values, np.float32)))


def _one_hot(form: str) -> Any:
    def cast(found: Found) -> Found:
        place = {name: k for k, name in enumerate(found.classes)}
        rows = np.eye(len(place), dtype=np.float32)[[place[label] for label in found.labels]]
        return replace(found, truth=Truth(form, list(found.classes), rows))

    return cast


def _normalized(found: Found) -> Found:
    assert found.truth is not None
    total = found.truth.rows.sum(1, keepdims=True)
    if (total == 0).any():
        raise DataError(f"task: {found.source} has images without a label, which are no shares")
    return replace(found, truth=replace(found.truth, form="shares", rows=found.truth.rows / total))


_SAME = {("classes", "dichotomy"), ("values", "ranking")}
_OWN = list(NATURAL.items())
_CASTS = {
    ("classes", "regression"): _numbers, ("classes", "ranking"): _numbers,
    ("classes", "multi-label"): _one_hot("flags"), ("classes", "distribution"): _one_hot("shares"),
    ("flags", "distribution"): _normalized,
}  # fmt: skip
