"""Each step of the program: noted in a few microseconds, told to the probes by the dozen.

What is done here every program pays for at every step, with caches that its own work has
emptied: so a step only leaves a row, and the rows are read in one go.
"""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

import torch

from visus.doctor.attention import guarded
from visus.doctor.clock import STEP_SECONDS

ROWS = 64  # steps told at once


class Enough(BaseException):
    """The agreed number of steps is done; not an Exception, so that programs do not catch it."""


class Tick(NamedTuple):
    """One step of one optimizer."""

    optimizer: Any
    number: int  # the step of the program, from 0
    losses: list  # of the backward calls since the step before
    rate: float  # the highest of its groups
    training: bool | None  # mode of the one network; None where there are several
    waited: float  # seconds for batches since the step before
    loads: int  # batches since then; below 0 with an evaluation between
    ended: float  # seconds on the program's clock, the doctor's own not counted


class Ticking:
    """The part of the host that counts steps."""

    names: Any
    busy: bool
    awake: bool
    thread: int
    over: bool
    step: int
    max_steps: int | None
    counts: dict[int, int]
    losses: list
    ticks: list[Tick]
    waited: float
    loads: int
    record: Any
    signals: Any
    schedule: Any
    hooks: Any
    clock: Any
    bare: Any

    def tell(self, event: str, *args: Any) -> None:
        """Send an event to the probes."""
        raise NotImplementedError

    def fault(self, place: str, error: Exception) -> None:
        """Note an error of the doctor."""
        raise NotImplementedError

    def _listen(self, hint: bool = False) -> None:
        raise NotImplementedError

    def _listen_bare(self) -> None:
        raise NotImplementedError

    def after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer has stepped; ends the program after `max_steps` of them."""
        if self.busy or threading.get_ident() != self.thread:
            return
        if self.awake:
            self._after(optimizer)
        self._tick(optimizer)
        if self.max_steps is not None and self.step >= self.max_steps:
            self.over = True
        if self.over:
            raise Enough

    @guarded
    def _after(self, optimizer: Any) -> None:
        with torch.no_grad():
            self.tell("after_step", optimizer)

    def _tick(self, optimizer: Any) -> None:
        begin, key = time.perf_counter(), id(optimizer)
        # An optimizer that comes later (another stage or fold) goes on with the steps so far; two
        # that take turns from the start both count from 0.
        count = self.counts[key] = self.counts.get(key, max(self.step - 1, 0)) + 1
        losses, self.losses = self.losses, []
        try:
            self.ticks.append(self._row(optimizer, count - 1, losses, begin))
            if self.record is not None:
                self.settle()
                self.record.tick(losses)
            elif len(self.ticks) >= ROWS:
                self.settle()
            if count > self.step:
                self._advance(count)
        except Exception as error:
            self.fault("tick", error)
        self.clock.spent += time.perf_counter() - begin + STEP_SECONDS

    def _row(self, optimizer: Any, number: int, losses: list, now: float) -> Tick:
        groups, roots = optimizer.param_groups, self.names.roots
        rate = groups[0]["lr"] if len(groups) == 1 else max(float(g["lr"]) for g in groups)
        training = roots[0].training if len(roots) == 1 else None
        waited, loads, self.waited, self.loads = self.waited, self.loads, 0.0, 0
        ended = now - self.clock.spent
        return Tick(optimizer, number, losses, float(rate), training, waited, loads, ended)

    def _advance(self, count: int) -> None:
        self.step = self.signals.steps = count
        self.awake = self.schedule.step(count) > 0
        if self.awake != self.hooks.listening or count == 1:
            self._listen()
        if self.bare is not None and self.awake:
            self._listen_bare()

    def settle(self) -> None:
        """Tell the probes of the steps since the last call, and let them read what they put by."""
        ticks, self.ticks, held, self.busy = self.ticks, [], self.busy, True
        try:
            with torch.no_grad():
                if ticks:
                    self.tell("tick", ticks)
                self.tell("settle")
        finally:
            self.busy = held
