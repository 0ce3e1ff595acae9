"""The budget: how much of the program's time the doctor may take, measured as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

HOOK_SECONDS = 3e-6  # the call of one hook by torch
OP_SECONDS = 3e-6  # one dispatch through a function mode, which no timer of ours brackets


class Clock:
    """Adds up the doctor's own seconds and says whether one more look is affordable.

    `share` is the part of the program's time that the doctor may take (0.02 = 2 %). The first
    looks (steps 0, 1, 2, 4, 8, ...) are always taken: a short program must not stay unseen.
    """

    def __init__(self, share: float = 0.02):
        self.share, self.spent, self.start = share, 0.0, time.perf_counter()
        self.stopped: float | None = None
        self._depth, self._own = 0, 0.0

    @contextmanager
    def count(self) -> Iterator[None]:
        """Everything inside is the doctor's time, not the program's (nests)."""
        begin, self._depth = time.perf_counter(), self._depth + 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.spent += time.perf_counter() - begin

    @property
    def seconds(self) -> float:
        """Seconds since the watch began, the doctor's included."""
        return (self.stopped or time.perf_counter()) - self.start

    @property
    def overhead(self) -> float:
        """The doctor's seconds over the program's own seconds."""
        own = self._own if self.stopped else self.seconds - self.spent
        return self.spent / max(own, 1e-9)

    def affords(self, weight: float = 1.0) -> bool:
        """True while the time spent is below `weight` times the agreed share."""
        return self.spent < weight * self.share * max(self.seconds - self.spent, 0.0)

    def stop(self) -> None:
        """The program has ended: what follows is the doctor's time alone."""
        self.stopped = time.perf_counter()
        self._own = self.seconds - self.spent
