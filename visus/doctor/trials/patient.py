"""The `Patient`: what a training must be able to do so that remedies can be tried on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Answers:
    """What a fork said about the validation images: by image 1.0 for a wrong answer, and its loss."""

    errors: Sequence[float]
    losses: Sequence[float]

    @property
    def error(self) -> float:
        """Share of wrong answers."""
        return sum(self.errors) / max(1, len(self.errors))

    @property
    def loss(self) -> float:
        """Mean loss."""
        return sum(self.losses) / max(1, len(self.losses))


class Patient(Protocol):
    """A training that can be forked. Nothing that a fork does may reach the training itself.

    `restore(snapshot, seed, steps)` makes a fork that will run `steps` steps, with the order of
    the data and the draws of `seed` (0: those of the training). `apply(edits)` treats it;
    edits are "key=value" texts. `run(steps)` trains it on and raises `NotFiniteError` where it
    breaks. `evaluate()` answers validation images, always the same ones in the same order: of
    each 1.0 for a wrong answer else 0.0, and its loss; `evaluate(few=True)` a small part of them. `cost()` is what one step of the fork costs, in
    steps of the untreated training.
    """

    def snapshot(self) -> Any: ...
    def restore(self, snapshot: Any, seed: int, steps: int) -> None: ...
    def apply(self, edits: Sequence[str]) -> None: ...
    def run(self, steps: int) -> None: ...
    def evaluate(self, few: bool = False) -> tuple[Sequence[float], Sequence[float]]: ...
    def cost(self) -> float: ...
