"""The doctor's own time, measured while the program runs and reported as `overhead`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# What no timer of ours brackets: torch's own share of a call that goes through us. Measured
# with and without (one thread of a 2.8 GHz server core, torch 2.13).
HOOK_SECONDS = 2e-6  # one global module hook
STEP_SECONDS = 6e-6  # the hooks of backward and of the optimizer, one step
OP_SECONDS = 9e-6  # one dispatch through a function mode


class Clock:
    """Adds up the doctor's own seconds. It decides nothing: see `visus.doctor.schedule`."""

    def __init__(self) -> None:
        self.spent, self.start = 0.0, time.perf_counter()
        self.stopped: float | None = None
        self._depth, self._own = 0, 0.0

    def begin(self, spent: float) -> None:
        """The watch is ready; to make it so took `spent` seconds (rules and probes read in)."""
        self.spent, self.start = spent, time.perf_counter() - spent

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
        """Seconds since the watch began until the program ended, the doctor's included."""
        return (self.stopped or time.perf_counter()) - self.start

    @property
    def overhead(self) -> float:
        """The doctor's seconds (those after the program's end too) over the program's own."""
        own = self._own if self.stopped else self.seconds - self.spent
        return self.spent / max(own, 1e-9)

    def stop(self) -> None:
        """The program has ended: what follows is the doctor's time alone."""
        self.stopped = time.perf_counter()
        self._own = self.seconds - self.spent
