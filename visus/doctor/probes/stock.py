"""What losses were given, put by and read a dozen batches at a time.

A small tensor costs what the call costs, so eight batches stacked are read eight times as fast.
"""

from __future__ import annotations

import math
from typing import Any

import torch

MOST = 1 << 16  # numbers of one batch that are put by; more are read at once

CROSS = ("cross_entropy", "nll_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
SQUARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


class DataLoss:
    """A loss function's call: `kind` (its torch name), the prediction, the target, options."""

    def __init__(self, kind: str, given: Any, target: Any, kwargs: dict, value: Any):
        self.kind, self.input, self.target = kind, given, target
        self.kwargs, self.value = kwargs, value
        self.others = 0  # losses of other kinds that are added to it

    def at(self, k: int) -> DataLoss:
        """Batch k of stacked ones."""
        target = self.target[k] if isinstance(self.target, torch.Tensor) else self.target
        return DataLoss(self.kind, self.input[k], target, self.kwargs, None)

    def stacked(self) -> DataLoss:
        """This batch as a stack of one."""
        target = self.target[None] if isinstance(self.target, torch.Tensor) else self.target
        return DataLoss(self.kind, self.input[None].detach(), target, self.kwargs, None)

    @property
    def options(self) -> dict[str, Any]:
        """Which label the loss leaves out, where one is named."""
        label = self.kwargs.get("ignore_index")
        return {} if label is None else {"ignore_index": int(label)}

    def judged(self) -> DataLoss:
        """Without the samples whose label tells the loss to leave them out (`ignore_index`)."""
        y, given = self.target, self.input
        label = self.kwargs.get("ignore_index", -100)
        if self.task != "classification" or y.is_floating_point() or y.shape != given.shape[:1]:
            return self
        kept = y != label
        return (
            self
            if bool(kept.all())
            else DataLoss(self.kind, given[kept], y[kept], self.kwargs, self.value)
        )

    @property
    def learns(self) -> bool:
        """True where a gradient will run through it: no evaluation."""
        given = (self.input, self.target)
        return any(isinstance(t, torch.Tensor) and t.requires_grad for t in given)

    @property
    def task(self) -> str:
        """classification, binary, regression or other."""
        if self.kind in CROSS:
            return "classification"
        return (
            "binary" if self.kind in BINARY else "regression" if self.kind in SQUARED else "other"
        )

    def named(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The classes that the answers name and the labels, both (N,), or (N, ...) of yes and no."""
        guess, target = self.input, self.target
        if not isinstance(guess, torch.Tensor) or not isinstance(target, torch.Tensor):
            return None
        if self.task == "classification" and guess.ndim == 2:
            return guess.argmax(1), target.argmax(1) if target.ndim == 2 else target
        if self.task == "binary" and guess.shape == target.shape and guess.ndim:
            return guess > (0.0 if self.kind.endswith("logits") else 0.5), target > 0.5
        return None

    def wrong(self) -> torch.Tensor | None:
        """Error by sample: 0/1 for classes, squared error for numbers; None where undefined."""
        guess, target = self.input, self.target
        if (pair := self.named()) is not None:
            off = (pair[0] != pair[1]).float()
        elif not isinstance(guess, torch.Tensor) or not isinstance(target, torch.Tensor):
            return None
        elif self.task == "regression" and guess.shape == target.shape and guess.ndim:
            off = (guess - target).float() ** 2
        else:
            return None
        return off.flatten(1).mean(1) if off.ndim > 1 else off

    def tally(self) -> torch.Tensor | None:
        """How often each class is named (row 0) and given (row 1): (2, C), or (2, ..., 2) of yes and no.

        Of numbers (3, ...): how many targets, their sum and their sum of squares.
        """
        if (pair := self.named()) is None:
            y = self.target
            if self.kind != "mse_loss" or not isinstance(y, torch.Tensor) or not y.ndim:
                return None
            y = y.detach().double()
            return torch.stack([torch.full_like(y[0], len(y)), y.sum(0), y.square().sum(0)])
        if pair[0].dtype == torch.bool:
            yes = torch.stack([side.sum(0) for side in pair])
            return torch.stack([len(pair[0]) - yes, yes], -1)
        classes = self.input.shape[1]
        known = [side[(side >= 0) & (side < classes)] for side in pair]
        return torch.stack([side.bincount(minlength=classes) for side in known])


def answered(facts: dict[str, Any], guess: Any, target: Any) -> DataLoss:
    """The loss of a kept tape (its `kind` and `options`) over these answers, samples left out not."""
    return DataLoss(facts["kind"], guess, target, facts["options"], None).judged()


class Stock:
    """Batches of predictions and targets (N, ...), detached, until `take` stacks them."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, int, DataLoss]] = []

    def put(self, step: int, found: DataLoss, mark: Any = None) -> bool:
        """Keep a copy of what this loss was given; True where it had better be read at once."""
        guess, target = _copy(found.input), _copy(found.target)
        kept = DataLoss(found.kind, guess, target, found.kwargs, None)
        self.rows.append(((mark, found.kind, _shape(guess), _shape(target)), step, kept))
        return guess.numel() > MOST

    def take(self) -> list[tuple[list[int], DataLoss, Any]]:
        """(steps, loss of stacked tensors (L, N, ...), mark) for runs of batches of one shape."""
        rows, self.rows, runs = self.rows, [], []
        for key, step, found in rows:
            if not runs or runs[-1][0] != key:
                runs.append((key, []))
            runs[-1][1].append((step, found))
        return [(*_stacked(run), key[0]) for key, run in runs]


def _copy(given: Any) -> Any:
    return given.detach().clone() if isinstance(given, torch.Tensor) else given


def _shape(given: Any) -> Any:
    return (given.shape, given.dtype) if isinstance(given, torch.Tensor) else None


def _stacked(run: list[tuple[int, DataLoss]]) -> tuple[list[int], DataLoss]:
    first = run[0][1]
    guess = torch.stack([found.input for _, found in run])
    target = first.target
    if isinstance(target, torch.Tensor):
        target = torch.stack([found.target for _, found in run])
    return [step for step, _ in run], DataLoss(first.kind, guess, target, first.kwargs, None)


def read_predictions(s: Any, steps: list[int], found: DataLoss) -> None:
    """What kind of numbers reach the loss, and can they reach the target? Stacked: (L, N, ...)."""
    x = found.input.float()
    if x.ndim < 2 or not x.numel():
        return
    flat = x.flatten(1)
    note(s, "prediction", "min", steps, flat.amin(1))
    note(s, "prediction", "max", steps, flat.amax(1))
    note(s, "prediction", "width", steps, [x.shape[2] if x.ndim > 2 else 1] * len(steps))
    spread = x.std(1).reshape(len(x), -1).mean(1) if x.shape[1] > 1 else [0.0] * len(steps)
    note(s, "prediction", "spread", steps, spread)
    if x.ndim == 3 and x.shape[2] > 1:
        note(s, "prediction", "row_sum_off", steps, (x.sum(2) - 1).abs().amax(1))
        note(s, "prediction", "column_sum_off", steps, (x.sum(1) - 1).abs().amax(1))
        note(s, "prediction", "log_sum", steps, x.logsumexp(2).abs().amax(1))
    if isinstance(found.target, torch.Tensor) and found.target.is_floating_point():
        _read_targets(s, steps, found)


def _read_targets(s: Any, steps: list[int], found: DataLoss) -> None:
    goal = found.target.float().reshape(len(steps), -1)
    if not goal.numel():
        return
    note(s, "target", "min", steps, goal.amin(1))
    note(s, "target", "max", steps, goal.amax(1))
    note(s, "target", "std", steps, goal.std(1) if goal.shape[1] > 1 else [0.0] * len(steps))
    note(s, "target", "rms", steps, goal.square().mean(1).sqrt())
    if found.task == "other":
        return
    # Shapes that do not match are broadcast: (N, 1) against (N,) compares all pairs.
    theirs, ours = found.target.shape[1:], found.input.shape[1:]
    note(s, "target", "shape_off", steps, [float(theirs != ours)] * len(steps))
    pairs = math.prod(torch.broadcast_shapes(theirs, ours)) / max(
        *map(math.prod, (ours, theirs)), 1
    )
    note(s, "target", "pairs", steps, [pairs] * len(steps))


def note(s: Any, place: str, quantity: str, steps: list[int], values: Any) -> None:
    """Add one value a step: a tensor (L,) or a list."""
    numbers = values.tolist() if isinstance(values, torch.Tensor) else values
    for step, value in zip(steps, numbers, strict=True):
        s.add(place, quantity, step, value)
