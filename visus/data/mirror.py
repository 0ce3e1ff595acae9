"""Does an image's mirror image belong to its class? Asked of the data, before any training.

A small classical model (ridge regression on coarse pixels and on the power spectrum, which no
shift changes) learns the classes from images as they are. Where classes differ by direction
(letters, digits, arrows, stripes) it fails on mirror images; of cars and cats it says much the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

MOST, LEAST = 3000, 100  # images the model learns from; fewer say nothing
SIDE = 16  # pixels a side, at most
LOST = 0.5  # share of what it knows beyond chance that mirror images cost where directions matter
SURE = 4.0  # standard errors by which it must be worse


@dataclass(frozen=True)
class Mirrored:
    """Accuracies of the model on held-out images, on their mirror images, and of pure chance."""

    plain: float
    mirrored: float
    chance: float
    n: int

    @property
    def directed(self) -> bool:
        """Whether mirror images look like other classes."""
        known, lost = self.plain - self.chance, self.plain - self.mirrored
        noise = (max(1e-9, self.plain * (1 - self.plain)) / max(1, self.n)) ** 0.5
        return known > SURE * noise and lost > SURE * noise and lost > LOST * known


_KNOWN: WeakKeyDictionary[Any, Mirrored | None] = WeakKeyDictionary()


def mirrored(dataset: Any) -> Mirrored | None:
    """What a linear model says of mirror images; None where the data are too few, or have no classes.

    Half a second or so; asked once a data set. It draws nothing by chance: of images in an even
    stride over train, three in four are learned from and the fourth answers.
    """
    images = dataset.train
    if images not in _KNOWN:
        _KNOWN[images] = _measured(images)
    return _KNOWN[images]


def _measured(images: Any) -> Mirrored | None:
    targets = images.targets
    if targets.ndim != 1 or targets.is_floating_point() or len(images) < LEAST:
        return None
    order = torch.arange(len(targets))
    rows = order[:: max(1, len(order) // MOST)]
    fourth = torch.arange(len(rows)) % 4 == 3
    learned, held = rows[~fourth], rows[fourth]
    x, y = _features(images, learned), targets[learned]
    classes = int(targets.max()) + 1
    mean, std = x.mean(0), x.std(0).clamp_min(1e-3)
    weights = _ridge((x - mean) / std, one_hot(y, classes).float())
    truth, right = targets[held], []
    for flip in (False, True):
        seen = (_features(images, held, flip) - mean) / std
        right.append(float(((seen @ weights).argmax(1) == truth).double().mean()))
    chance = float(torch.bincount(truth, minlength=classes).max() / max(1, len(truth)))
    return Mirrored(right[0], right[1], chance, len(truth))


def _ridge(x: Tensor, goal: Tensor) -> Tensor:
    gram = x.T @ x + 0.3 * len(x) * torch.eye(x.shape[1])
    return torch.linalg.solve(gram, x.T @ (goal - goal.mean(0)))


def _fourier(side: int) -> Tensor:
    """The matrix of the discrete Fourier transform: sides are too small for a fast one."""
    turns = torch.outer(torch.arange(side), torch.arange(side)) * (-2 * pi / side)
    return torch.complex(turns.cos(), turns.sin())


def _features(images: Any, rows: Tensor, flip: bool = False) -> Tensor:
    """Coarse pixels by channel and the logarithm of the grey image's power spectrum."""
    found = []
    for part in rows.split(256):
        batch = images.batch(part).float() / 255
        batch = batch.flip(3) if flip else batch
        sides = min(SIDE, batch.shape[2]), min(SIDE, batch.shape[3])
        small = adaptive_avg_pool2d(batch, sides)
        grey = small.mean(1)
        left, right = (_fourier(side) for side in sides)
        power = (
            (left @ (grey - grey.mean((1, 2), keepdim=True)).to(torch.complex64) @ right)
            .abs()
            .square()
        )
        found.append(torch.cat([small.flatten(1), (power + 1e-6).log().flatten(1)], 1))
    return torch.cat(found)
