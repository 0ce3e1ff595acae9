"""When the host listens: on the steps that the schedule chose, and while the program evaluates."""

from __future__ import annotations

import functools
import sys
import threading
import time
from typing import Any

import torch

from visus.doctor.clock import HOOK_SECONDS


def guarded(method):
    """Count the time as the doctor's; note an error of the doctor instead of raising it.

    While the doctor works the recorder is off: it must not record the doctor.
    """

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        if self.busy or threading.get_ident() != self.thread:
            return
        begin, self.busy = time.perf_counter(), True
        self.recorder.off()
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.fault(method.__name__, error)
        finally:
            self.busy = False
            if self.want:
                self.recorder.on()
            else:
                self.recorder.off()
            self.clock.spent += time.perf_counter() - begin + HOOK_SECONDS

    return call


class Attention:
    """The part of the host that decides whether to listen."""

    awake: bool  # is this step looked at (its losses at least)?
    busy: bool
    pinned: bool  # hooks stay on modules: to change them would compile the program anew
    compiled: int  # functions compiled before the watch began
    muted: int  # the step after which enough evaluation was seen
    step: int
    looked: int
    depth: int
    path: list
    thread: int
    tape: Any
    names: Any
    schedule: Any
    hooks: Any
    recorder: Any
    clock: Any
    want: bool
    errors: list

    def _view(self) -> None:
        raise NotImplementedError

    def fault(self, place: str, error: Exception) -> None:
        """Note an error of the doctor itself; the program goes on."""
        line = f"{place}: {type(error).__name__}: {error}".splitlines()[0][:200]
        if line not in self.errors and len(self.errors) < 20:
            self.errors.append(line)

    def level(self, grad: bool) -> int:
        """How closely to look at the pass that begins: 0 not, 1 losses and labels, 2 layers."""
        if grad:
            if self.schedule.level == 2:
                self.looked = self.step
            return self.schedule.level
        if self.schedule.view(self.step):
            return 1
        self.muted = self.step
        self._listen()
        if not self.hooks.listening:  # the end of this very call will not be told either
            self.depth, self.path = 0, []
        return 0

    @property
    def looking(self) -> bool:
        """True while the present step is looked at in full."""
        return self.looked == self.step

    def _listen(self, hint: bool = False) -> None:
        if self.step == 1:
            self.pinned |= bool(self.names.compiled) or compiled() > self.compiled
        self.hooks.listen(self.awake or self.pinned or (hint and self.muted != self.step))

    def turn(self, training: bool) -> None:
        """A network changes its mode, or gradients were switched off: an evaluation may begin."""
        if self.awake or self.busy or threading.get_ident() != self.thread:
            return
        if training and self.tape is not None:
            # What the evaluation gave may be compared with labels only now: the next pass ends it.
            self._listen(hint=True)
            return
        if not training and not self.hooks.listening:
            self.depth, self.path = 0, []
        self._listen(hint=not training or not torch.is_grad_enabled())

    def deaf(self) -> None:
        """A data loader is at work, or bare weights are updated: record nothing until `hear`."""
        if self.recorder.active and not self.busy and threading.get_ident() == self.thread:
            self.recorder.off()

    def hear(self) -> None:
        """It is done: record again where the tape still runs."""
        if self.want and not self.busy and threading.get_ident() == self.thread:
            self.recorder.on()

    def back(self) -> None:
        """Gradients are on again."""
        if not self.awake and not self.busy and self.tape is None and self.depth == 0:
            self._listen()

    @guarded
    def _shut(self) -> None:
        self._view()


def compiled() -> int:
    """How many functions and networks torch has compiled in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["frames"].get("ok", 0)) if dynamo else 0
