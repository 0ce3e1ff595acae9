"""From a settled recipe and a data set to the state that trains and the feed of its batches."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn

from visus.data import steps_per_epoch
from visus.errors import RecipeError
from visus.models import adopt
from visus.training.automatic import convolves
from visus.training.classifier import Classifier, statistics
from visus.training.distributed import ALONE, World
from visus.training.ema import Average
from visus.training.feed import Feed
from visus.training.members import family
from visus.training.optimizers import make_optimizer
from visus.training.recipe import Recipe
from visus.training.seeds import reseed
from visus.training.selection import balanced, by_class, class_weights, evenly, trusted
from visus.training.state import State
from visus.training.tasks import Task, make_task, tasks

_INIT = -1  # the "step" from which the initialization draws


def make_classifier(
    recipe: Recipe, dataset: Any, network: nn.Module | None, weights: bool = True
) -> tuple[Classifier, list[str]]:
    """The initialized network behind its input normalization, and the names of fresh parameters.

    `network` is a module of the caller's, copied; otherwise the recipe's is built. Without
    `weights` nothing is initialized or read: they come from a checkpoint.
    """
    reseed(recipe.seed, _INIT)
    mean, std = statistics(recipe.normalization, dataset.mean, dataset.std)
    task = make_task(recipe.task.name, dataset, **recipe.task.options())
    made = copy.deepcopy(network) if network is not None else _build(task, recipe, dataset)
    model, fresh = Classifier(made, mean, std), []
    model.task = task
    if weights and recipe.init.name != "auto":
        initialize(model, recipe, dataset)
    if weights and recipe.model.pretrained is not None:
        fresh = adopt(made, recipe.model.pretrained)
    return model, fresh


def _build(task: Task, recipe: Recipe, dataset: Any) -> nn.Module:
    size = (dataset.size[0], dataset.size[1])
    return task.network(recipe.model, dataset.channels, size)


def initialize(model: Classifier, recipe: Recipe, dataset: Any) -> None:
    """Initialize the network by the recipe's `init`; data-driven ones see 128 images of train, of all its parts."""
    pixels = dataset.train.batch(evenly(len(dataset.train), 128))
    images = (pixels.float() / 255 - model.mean) / model.std
    family("init").make(recipe.init.name, model.network, images, **recipe.init.options())


def make_state(
    recipe: Recipe,
    model: Classifier,
    fresh: list[str],
    device: torch.device,
    world: World = ALONE,
    dataset: Any = None,
) -> State:
    """Model on its device and in its layout, with optimizer, penalty, loss and average.

    `dataset` is needed where the recipe weighs the classes.
    """
    layout = torch.channels_last if recipe.training.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=layout)  # type: ignore[call-overload]
    optimizer, penalty = make_optimizer(model.network, recipe, fresh)
    criterion = _criterion(recipe, model.task, dataset).to(device)
    ema, how = recipe.training.ema, recipe.training
    return State(
        model, optimizer, penalty, criterion, device, seed=recipe.seed, world=world,
        precision="float32" if how.precision == "auto" else how.precision,
        accumulate=how.accumulate, clip=how.clip, average=Average(model, ema) if ema else None,
    )  # fmt: skip


def _criterion(recipe: Recipe, task: Task | None, dataset: Any) -> nn.Module:
    task = task or cast(Task, tasks.make("classification", []))
    criterion = task.criterion(recipe.loss.name, recipe.loss.options())
    if recipe.training.balance != "weights":
        return criterion
    if "weight" not in dict(criterion.named_buffers()) and not hasattr(criterion, "weight"):
        raise RecipeError(
            f"recipe: training.balance = weights, but loss '{recipe.loss.name}' takes no weights; "
            "choose sampling"
        )
    images = trusted(dataset.train, recipe.training.quarantine)
    criterion.weight = class_weights(images, len(dataset.classes))  # type: ignore[assignment]
    return criterion


def make_feed(recipe: Recipe, dataset: Any, device: torch.device, world: World = ALONE) -> Feed:
    """The batches of train for a settled recipe."""
    jitter = recipe.jitter if isinstance(recipe.jitter, dict) else {}
    images = trusted(dataset.train, recipe.training.quarantine)
    if recipe.training.balance != "none" and not by_class(images):
        raise RecipeError(
            f"recipe: training.balance = {recipe.training.balance} is of classes, which a "
            f"{recipe.task.name} does not have; leave it out"
        )
    drawn = balanced(images) if recipe.training.balance == "sampling" else images
    feed = Feed(
        drawn, jitter, classes=len(dataset.classes), seed=recipe.seed, device=device,
        batch_size=int(recipe.training.batch_size), world=world,
        channels_last=bool(recipe.training.channels_last),
    )  # fmt: skip
    # An epoch is as long as without the balance: the run must not take longer for it.
    feed.per_epoch = steps_per_epoch(len(images), feed.batch_size)
    return feed


def settle_layout(recipe: Recipe, network: nn.Module) -> Recipe:
    """Replace `channels_last = "auto"`: yes for networks that convolve."""
    if recipe.training.channels_last != "auto":
        return recipe
    training = recipe.training.model_copy(update={"channels_last": convolves(network)})
    return recipe.model_copy(update={"training": training})
