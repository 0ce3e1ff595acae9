"""What training writes into the ledger: step lines, few enough to read, and the network."""

from __future__ import annotations

import time
from typing import Any

from visus.ledger import Ledger
from visus.models import summary, total_flops
from visus.training.plan import Plan
from visus.training.recipe import Recipe
from visus.training.steps import Step

SECONDS, LINES = 0.5, 2000  # between step lines; of them in a run, at most


class Pulse:
    """Gathers steps and writes a line of their mean loss and speed when one is due."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.losses: list[float] = []
        self.images, self.since, self.step = 0, time.monotonic(), 0

    def pause(self, seconds: float) -> None:
        """Do not count `seconds` spent on an evaluation as training time."""
        self.since += seconds

    def add(self, step: Step, plan: Plan, judge: float) -> None:
        """Take a step in; write the line of all since the last one where it is due."""
        self.losses.append(step.loss)
        self.images += step.images
        spent = time.monotonic() - self.since
        due = spent >= SECONDS and step.step - self.step >= plan.steps / LINES
        if due or step.step == 1 or step.step >= plan.steps:
            self._write(step, plan, max(spent, 1e-9), judge)

    def _write(self, step: Step, plan: Plan, spent: float, judge: float) -> None:
        ahead = plan.steps - step.step
        left = ahead * spent / len(self.losses) + (plan.epochs - plan.epoch(step.step)) * judge
        self.ledger.write(
            "step", step=step.step, steps=plan.steps, epoch=plan.epoch(step.step),
            loss=sum(self.losses) / len(self.losses), rate=step.rate,
            images_per_second=round(self.images / spent, 1), seconds_left=round(left, 1),
        )  # fmt: skip
        self.losses.clear()
        self.images, self.since, self.step = 0, time.monotonic(), step.step


def describe(ledger: Ledger, recipe: Recipe, dataset: Any, model: Any) -> None:
    """Write what is to be learned, and the network layer by layer."""
    task = model.task
    found = task.name == getattr(dataset, "natural", "classification")
    ledger.write(
        "task", name=task.name, how="found from the data" if found else "asked for",
        outputs=task.names, loss=recipe.loss.name, noun=task.noun, axis=task.axis,
    )  # fmt: skip
    rows = summary(model.network, dataset.channels, tuple(dataset.size))
    count = sum(weight.numel() for weight in model.parameters())
    ledger.write(
        "model", name=recipe.model.name, parameters=count, flops=total_flops(rows), layers=rows
    )  # fmt: skip
