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
from visus.training.range_test import COUNT, FAR, range_test
from visus.training.recipe import Recipe
from visus.training.state import State, undisturbed
from visus.training.steps import backward, steps


def with_training(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with keys of its training section replaced."""
    training = recipe.training.model_copy(update=values)
    return recipe.model_copy(update={"training": training})


def settle_threads(
    recipe: Recipe, state: State, feed: Feed, ledger: Ledger, most: float
) -> Recipe:  # fmt: skip
    """Set torch's threads: those of the recipe, or the quickest by a probe of `most` seconds."""
    wish, timings = recipe.training.threads, {}
    if wish == "auto":
        choices = machine.thread_choices()
        wish = choices[0]
        if len(choices) > 1 and state.device.type == "cpu" and state.world.size == 1:
            wish, timings = _quickest(choices, torch.set_num_threads, state, feed, most)
    ledger.write("threads", chosen=wish, timings=timings)
    torch.set_num_threads(wish)
    return with_training(recipe, threads=wish)


def settle_precision(recipe: Recipe, state: State, feed: Feed, most: float) -> Recipe:
    """Set the precision; "auto" takes half precision on a GPU, and on a CPU where it is quicker."""
    wish = recipe.training.precision
    if wish == "auto":
        half = machine.half_precision(state.device)
        wish = half if state.device.type == "cuda" else "float32"
        if state.device.type == "cpu" and half != "float32" and state.world.size == 1:
            choices = ["float32", half]
            wish, _ = _quickest(choices, state.set_precision, state, feed, most, margin=0.25)
    state.set_precision(wish)
    return with_training(recipe, precision=wish)


def _quickest(
    choices: list[Any], choose: Any, state: State, feed: Feed, most: float, margin: float = 0.1
) -> tuple[Any, dict]:
    """The choice under which a forward and backward pass is quickest; leaves no trace."""
    images, targets = feed(0)

    def work(choice: Any) -> None:
        choose(choice)
        backward(state, images, targets)

    with undisturbed(state):
        state.model.train()
        return machine.quickest(choices, work, margin=margin, most=most)


def settle_rate(
    recipe: Recipe, state: State, feed: Feed, ledger: Ledger, watch: Pacer, stop: Callable[[], bool]
) -> Recipe:  # fmt: skip
    """Replace `rate = "auto"` by the range test's, which ends early where `stop()` says so."""
    if recipe.optimizer.rate != "auto":
        return recipe
    rate = usual_rate(recipe)
    if watch.needless:
        ledger.write("note", text=f"range test left out, at {watch.pace:.2g} s a step: the optimizer's usual rate {rate:.2g}")  # fmt: skip
    else:
        found = range_test(state, feed, rate, stop=stop)
        ledger.write("range-test", **vars(found))
        rate = found.rate
    optimizer = recipe.optimizer.model_copy(update={"rate": rate})
    return recipe.model_copy(update={"optimizer": optimizer})


class Pacer:
    """Says after each step of a probe of `count` steps whether it is too late to go on with it.

    `pace` are seconds a step, where they are known already; else 0.
    """

    def __init__(self, state: State, seconds: float, pace: float = 0.0, count: int = COUNT):
        self.state, self.seconds, self.count = state, seconds, count
        self.began, self.steps = time.monotonic(), 0
        self.needless = pace * count > 4 * seconds  # not even begun
        self.pace = pace if self.needless else 0.0

    def late(self) -> bool:
        """Whether the seconds have gone by, or will before a quarter of the steps is done."""
        self.steps += 1
        spent = time.monotonic() - self.began
        self.pace = self.state.world.agree(spent / self.steps)
        hopeless = self.steps > 1 and self.pace * self.count > 4 * self.seconds
        return self.state.world.agree(hopeless or spent > self.seconds)


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
            if len(spent) >= 8 or (len(spent) >= 2 and late(state, until)):
                break
    return state.world.agree(sorted(spent[1:])[(len(spent) - 1) // 2])
