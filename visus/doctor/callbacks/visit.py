"""What all callbacks share: a doctor that is opened and closed, and optimizers unlike torch's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from visus.doctor.watching import Doctor


def aloud(text: str) -> None:
    """Print the letter where it does not mix with the program's output."""
    print(text, file=sys.stderr, flush=True)


class Visit:
    """One training under the doctor. `open` and `close` may be called twice without harm."""

    def __init__(self, say: Callable[[str], Any] | None = aloud, **options: Any):
        self.say, self.options = say, options
        self.doctor: Doctor | None = None
        self.seen: Doctor | None = None

    def open(self, model: Any = None) -> None:
        """Begin to watch; a visit that an exception left open is closed first."""
        self.close(silent=True)
        given = model if isinstance(model, torch.nn.Module) else None
        self.doctor = self.seen = Doctor(given, **self.options)
        self.doctor.__enter__()

    def close(self, error: BaseException | None = None, *, silent: bool = False) -> None:
        """End the visit, find the findings, say the letter."""
        doctor, self.doctor = self.doctor, None
        if doctor is None:
            return
        doctor.__exit__(
            type(error) if error else None, error, error.__traceback__ if error else None
        )
        if self.say is not None and not silent:
            self.say(doctor.letter())

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of the last training, causes first."""
        return self.seen.findings if self.seen is not None else []

    def letter(self) -> str:
        """The findings of the last training as text."""
        return self.seen.letter() if self.seen is not None else "No training was watched."


class Twin:
    """Stands for an optimizer that is no torch optimizer, in the eyes of the doctor.

    A torch optimizer of the same kind over the same parameters, with the same rates, that
    never steps.
    """

    def __init__(self, doctor: Doctor, kind: str):
        self.host = doctor.host
        self.kind = getattr(torch.optim, kind, torch.optim.SGD)
        self.optimizer: torch.optim.Optimizer | None = None

    def before(self, groups: list[dict[str, Any]]) -> None:
        """The real optimizer is about to step over `groups` ({"params", "lr", ...} each)."""
        mine = self.optimizer
        if mine is None:
            mine = self.optimizer = self.kind([{**group} for group in groups], lr=groups[0]["lr"])
        for group, theirs in zip(mine.param_groups, groups, strict=False):
            group.update({key: value for key, value in theirs.items() if key != "params"})
        self.host.before_step(mine, (), {})

    def after(self) -> None:
        """The real optimizer has stepped."""
        self.host.after_step(self.optimizer, (), {})
