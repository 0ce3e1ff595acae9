"""Which images of train are drawn, and how often: the quarantine, and the balance of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from visus.errors import RecipeError


class Part:
    """Images of an ImageSet at `rows` (which may repeat), itself with the face of an ImageSet."""

    def __init__(self, images: Any, rows: Tensor):
        self.images, self.rows = images, rows
        self.targets = images.targets[rows]
        self.names = [images.names[i] for i in rows.tolist()]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 `(B, C, H, W)` of the images at `indices`."""
        return self.images.batch(self.rows[indices])


def evenly(n: int, most: int) -> Tensor:
    """int64 indices of at most `most` of `n` images, evenly spread: a folder stands class by class."""
    few = min(n, most)
    return torch.arange(few) * n // max(1, few)


def by_class(images: Any) -> bool:
    """Whether the targets are class numbers."""
    targets = images.targets
    return getattr(targets, "ndim", 0) == 1 and not targets.is_floating_point()


def trusted(images: Any, quarantine: Sequence[str]) -> Any:
    """`images` without those named in `quarantine`; they stay where they are, and are not drawn.

    Raises `RecipeError` where a name is not among them, or a class would be empty.
    """
    if not quarantine:
        return images
    listed = set(quarantine)
    if unknown := listed - set(images.names):
        raise RecipeError(
            f"recipe: training.quarantine names '{sorted(unknown)[0]}', which is no training image; leave it out"
        )
    rows = [i for i, name in enumerate(images.names) if name not in listed]
    kept = Part(images, torch.tensor(rows, dtype=torch.int64))
    if by_class(images) and set(kept.targets.tolist()) != set(images.targets.tolist()):
        raise RecipeError(
            "recipe: training.quarantine leaves a class without training images; name fewer"
        )
    return kept


def balanced(images: Any) -> Any:
    """`images` with those of the rarer classes repeated until all classes are about as large.

    The repetition is fixed: image i of a class of n_c images comes floor or ceil(largest / n_c)
    times. The order of the draws is the feed's, a function of (seed, step).
    """
    counts = torch.bincount(images.targets)
    most, rows = int(counts.max()), []
    for count, label in zip(counts.tolist(), range(len(counts)), strict=True):
        if count:
            own = (images.targets == label).nonzero()[:, 0]
            rows.append(own.repeat(-(-most // count))[:most])
    return Part(images, torch.cat(rows))


def class_weights(images: Any, classes: int) -> Tensor:
    """Weights `(K,)` of the loss: n / (K n_c), so that all classes weigh the same in a whole epoch."""
    counts = torch.bincount(images.targets, minlength=classes).clamp_min(1).float()
    return len(images) / (classes * counts)
