"""What "auto" stands for where time and machine decide: threads, precision, rate, epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from visus.ledger import Ledger
from visus.training import machine
from visus.training.automatic import usual_rate
from visus.training.feed import Feed
from visus.training.plan import usual_epochs
from visus.training.range_test import FAR, range_test
from visus.training.recipe import Recipe
from visus.training.state import State, undisturbed
from visus.training.steps import backward, steps


def with_training(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with keys of its training section replaced."""
    training = recipe.training.model_copy(update=values)
    return recipe.model_copy(update={"training": training})


def settle_threads(recipe: Recipe, state: State, feed: Feed, ledger: Ledger) -> Recipe:
    """Set torch's threads: those of the recipe, or the quickest by a short probe."""
    wish, timings = recipe.training.threads, {}
    if wish == "auto":
        choices = machine.thread_choices()
        wish = choices[0]
        if len(choices) > 1 and state.device.type == "cpu" and state.world.size == 1:
            wish, timings = _quickest(choices, torch.set_num_threads, state, feed)
    ledger.write("threads", chosen=wish, timings=timings)
    torch.set_num_threads(wish)
    return with_training(recipe, threads=wish)


def settle_precision(recipe: Recipe, state: State, feed: Feed) -> Recipe:
    """Set the precision; "auto" takes half precision on a GPU, and on a CPU where it is quicker."""
    wish = recipe.training.precision
    if wish == "auto":
        half = machine.half_precision(state.device)
        wish = half if state.device.type == "cuda" else "float32"
        if state.device.type == "cpu" and half != "float32" and state.world.size == 1:
            choices = ["float32", half]
            wish, _ = _quickest(choices, state.set_precision, state, feed, margin=0.25)
    state.set_precision(wish)
    return with_training(recipe, precision=wish)


def _quickest(
    choices: list[Any], choose: Any, state: State, feed: Feed, margin: float = 0.1
) -> tuple[Any, dict]:
    """The choice under which a forward and backward pass is quickest; leaves no trace."""
    images, targets = feed(0)

    def work(choice: Any) -> None:
        choose(choice)
        backward(state, images, targets)

    with undisturbed(state):
        state.model.train()
        return machine.quickest(choices, work, margin=margin)


def settle_rate(
    recipe: Recipe, state: State, feed: Feed, ledger: Ledger, stop: Callable[[], bool]
) -> Recipe:  # fmt: skip
    """Replace `rate = "auto"` by the range test's, which ends early where `stop()` says so."""
    if recipe.optimizer.rate != "auto":
        return recipe
    found = range_test(state, feed, usual_rate(recipe), stop=stop)
    ledger.write("range-test", **vars(found))
    optimizer = recipe.optimizer.model_copy(update={"rate": found.rate})
    return recipe.model_copy(update={"optimizer": optimizer})


def late(state: State, until: float) -> bool:
    """Whether `until` (time.monotonic) has passed on rank 0."""
    return state.world.agree(time.monotonic() > until)


def wished_epochs(recipe: Recipe, feed: Feed) -> int | None:
    """The epochs of the recipe; with a time limit, "auto" is None: as many as fit."""
    if recipe.training.epochs != "auto":
        return recipe.training.epochs
    return None if recipe.training.time_limit else usual_epochs(feed.per_epoch)


def step_seconds(state: State, feed: Feed, most: float = 3.0) -> float:
    """Seconds that one step takes: the median of a few that leave no trace."""
    spent: list[float] = []
    with undisturbed(state):
        state.model.train()
        state.step = FAR
        last, until = time.perf_counter(), time.monotonic() + most
        for _ in steps(state, feed, lambda at: 1e-12):
            now = time.perf_counter()
            spent.append(now - last)
            last = now
            if len(spent) >= 8 or (len(spent) >= 3 and late(state, until)):
                break
    return state.world.agree(sorted(spent[1:])[(len(spent) - 1) // 2])
