"""How many steps, at which rate, and what fits into the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from visus.training.recipe import Recipe
from visus.training.schedules import schedules

MOST_EPOCHS = 200  # with a time limit and epochs = "auto"


@dataclass(frozen=True)
class Plan:
    """`steps` in all, of which `per_epoch` make an epoch, and how far along each step is.

    A plan that is changed on the way keeps what was done: the schedule goes on from the share
    it had reached at `from_step` and moves faster or slower from there, so the rate never
    jumps. `most` are the steps it may grow to.
    """

    steps: int
    per_epoch: int
    most: int = 0
    from_step: int = 0
    from_done: float = 0.0

    @property
    def epochs(self) -> int:
        """Epochs begun by the last step."""
        return -(-self.steps // self.per_epoch)

    def epoch(self, step: int) -> int:
        """The epoch, from 1, that the work up to `step` belongs to."""
        return max(1, -(-step // self.per_epoch))

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch, or the whole plan, is complete after `step` steps."""
        return step % self.per_epoch == 0 or step >= self.steps

    def done(self, step: int) -> float:
        """The share of the training that lies behind `step`."""
        left = max(1, self.steps - self.from_step)
        share = (step - self.from_step) / left
        return min(1.0, self.from_done + (1.0 - self.from_done) * share)

    def to(self, steps: int, step: int) -> Plan:
        """The plan with other `steps` in all, decided at `step`."""
        return replace(self, steps=steps, from_step=step, from_done=self.done(step))

    def facts(self) -> dict[str, Any]:
        """As JSON holds it; `Plan(**facts)` is the plan again."""
        return asdict(self)


def rate_of(recipe: Recipe) -> Callable[[float], float]:
    """Share done -> learning rate, of a resolved recipe."""
    choice = recipe.schedule
    schedules.check(choice.name, choice.options())
    shape = partial(schedules[choice.name], **choice.options())
    peak = float(recipe.optimizer.rate)
    return lambda done: peak * shape(done)


class Clock:
    """Seconds spent on a run, `before` in earlier sittings, since `began` in this one."""

    def __init__(self, before: float = 0.0, began: float | None = None):
        self.before, self.start = before, time.monotonic() if began is None else began

    def __call__(self) -> float:
        return self.before + time.monotonic() - self.start


def usual_epochs(per_epoch: int) -> int:
    """Epochs where nobody says: 20, and on small data as many as give 1500 steps, at most 60."""
    return min(60, max(20, -(-1500 // per_epoch)))


def fit(per_epoch: int, wish: int | None, seconds: float, step: float, judge: float) -> int:
    """Steps that fit into `seconds`, at `step` seconds each and `judge` for an epoch's evaluation.

    The evaluation of the last epoch is none of these seconds: it is the ending's.
    Whole epochs where at least two fit, at most `wish`; at least one step.
    """
    epochs = int((seconds + judge) / (per_epoch * step + judge))
    if epochs >= 2:
        return per_epoch * min(epochs, wish or MOST_EPOCHS)
    return max(1, min(per_epoch, int(seconds / step)))


def refit(plan: Plan, at: int, seconds: float, step: float, judge: float) -> Plan:
    """The plan for what is left of it to fit into `seconds`: shorter, or longer up to its `most`.

    Changes below a thirtieth are not worth a new plan.
    """
    share = step + judge / plan.per_epoch
    fits = at + max(0, int(seconds / share))
    steps = min(fits, max(plan.most, plan.steps))
    return plan if abs(steps - plan.steps) <= plan.steps / 30 else plan.to(steps, at)
