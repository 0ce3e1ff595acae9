"""What "auto" stands for where the data alone decides; time and machine come in `probes.py`."""

from __future__ import annotations

from typing import Any

from torch import nn

from visus.data import jitter_default, mirrored
from visus.errors import RecipeError
from visus.models import choose
from visus.training.optimizers import optimizers
from visus.training.recipe import Recipe
from visus.training.tasks import tasks


def settle(recipe: Recipe, dataset: Any) -> Recipe:
    """The recipe with every "auto" replaced that images, classes and size decide."""
    tree = recipe.tree()
    if recipe.task.name == "auto":
        tree["task"]["name"] = getattr(dataset, "task", "classification")
    kind_of_task: Any = tasks[tree["task"]["name"]]
    tree["loss"] = usual_loss(kind_of_task, tree["task"]["name"], tree["loss"])
    if recipe.model.name == "auto":
        tree["model"]["name"] = choose(tuple(dataset.size), kind_of_task.per_pixel)
    if recipe.training.batch_size == "auto":
        tree["training"]["batch_size"] = batch_size(len(dataset.train))
    if recipe.jitter == "auto":
        tree["jitter"] = usual_jitter(tree["task"]["name"], dataset)
    kind = optimizers[recipe.optimizer.name]
    for key in ("l2", "decoupled"):
        if tree["regularization"][key] == "auto":
            tree["regularization"][key] = getattr(kind, key)
    return Recipe.model_validate(tree)


def usual_loss(task: Any, name: str, loss: dict[str, Any]) -> dict[str, Any]:
    """The loss of the recipe; cross entropy, the default, stands for the task's own where it fits not."""
    if not task.losses or loss["name"] in task.losses:
        return loss
    if loss == {"name": "cross-entropy"}:
        return {"name": task.losses[0], **task.loss_options}
    raise RecipeError(
        f"recipe: loss '{loss['name']}' is none of a {name}; choose {' or '.join(task.losses)}"
    )


def usual_jitter(task: str, dataset: Any) -> dict[str, Any]:
    """What jitter "auto" stands for: no mirror images where they may have other answers."""
    task = getattr(dataset, "task", "classification") if task == "auto" else task
    kind: Any = tasks[task]
    usual = jitter_default(dataset.channels, dataset.size, dataset.name, mirror=kind.mirror)
    if "flip" in usual and (seen := mirrored(dataset)) and seen.directed:
        del usual["flip"]
    return usual


def batch_size(images: int) -> int:
    """32 below 2,000 images, 64 below 10,000, else 128; never more than there are."""
    return max(1, min(images, 32 if images < 2_000 else 64 if images < 10_000 else 128))


def usual_rate(recipe: Recipe) -> float:
    """The optimizer's own peak rate, for the batch size of the recipe."""
    kind = optimizers[recipe.optimizer.name]
    share = int(recipe.training.batch_size) / 128
    steep = tasks[recipe.task.name].rate if recipe.task.name in tasks else 1.0  # type: ignore[attr-defined]
    return kind.rate * share**kind.scaling * steep  # type: ignore[attr-defined]


def convolves(network: nn.Module) -> bool:
    """Whether any weight is that of a 2d convolution, for which layout matters."""
    return any(weight.ndim == 4 for weight in network.parameters())
