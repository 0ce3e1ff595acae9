"""What "auto" stands for where the data alone decides; time and machine come in `probes.py`."""

from __future__ import annotations

from typing import Any

from torch import nn

from visus.data import jitter_default
from visus.models import choose
from visus.training.optimizers import optimizers
from visus.training.recipe import Recipe


def settle(recipe: Recipe, dataset: Any) -> Recipe:
    """The recipe with every "auto" replaced that images, classes and size decide."""
    tree = recipe.tree()
    if recipe.model.name == "auto":
        tree["model"]["name"] = choose(tuple(dataset.size))
    if recipe.training.batch_size == "auto":
        tree["training"]["batch_size"] = batch_size(len(dataset.train))
    if recipe.jitter == "auto":
        tree["jitter"] = jitter_default(dataset.channels, dataset.size, dataset.name)
    kind = optimizers[recipe.optimizer.name]
    for key in ("l2", "decoupled"):
        if tree["regularization"][key] == "auto":
            tree["regularization"][key] = getattr(kind, key)
    return Recipe.model_validate(tree)


def batch_size(images: int) -> int:
    """32 below 2,000 images, 64 below 10,000, else 128; never more than there are."""
    return max(1, min(images, 32 if images < 2_000 else 64 if images < 10_000 else 128))


def usual_rate(recipe: Recipe) -> float:
    """The optimizer's own peak rate, for the batch size of the recipe."""
    kind = optimizers[recipe.optimizer.name]
    share = int(recipe.training.batch_size) / 128
    return kind.rate * share**kind.scaling  # type: ignore[attr-defined]


def convolves(network: nn.Module) -> bool:
    """Whether any weight is that of a 2d convolution, for which layout matters."""
    return any(weight.ndim == 4 for weight in network.parameters())
