"""Trainings in stages: pretrain, then fine-tune with an optimizer of its own; fold after fold.

Each stage has its own losses, labels and first weights. What was seen of one says little of the
next, and words like "learned" mean nothing across both: so each is watched anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from visus.doctor.diagnose import diagnose
from visus.doctor.probes import Probe, attach
from visus.doctor.signals import Signals

STAGE = 20  # steps of every optimizer before that make a newcomer's training another stage


class Stages:
    """The part of the host that knows where one stage of training ends."""

    asks: set[str]
    since: int  # the steps before the present stage
    past: list[dict[str, Any]]  # findings of the stages before
    judge: Callable[[], list[dict[str, Any]]]
    awake: bool
    signals: Signals
    schedule: Any
    record: Any
    hand: Any
    step: int
    optimizers: dict[int, Any]
    counts: dict[int, int]
    scores: list
    views: list
    probes: list[Probe]
    routes: dict[str, list[tuple[Probe, Any]]]

    def tell(self, event: str, *args: Any) -> None:
        """Send an event to the probes."""
        raise NotImplementedError

    def settle(self) -> None:
        """Tell the probes of the steps since the last call."""
        raise NotImplementedError

    def add(self, probe: Probe) -> None:
        """Attach a probe."""
        raise NotImplementedError

    def meet(self, optimizer: Any) -> None:
        """An optimizer steps; a new one beside others, in the place of one, or after all others."""
        if id(optimizer) in self.optimizers:
            return
        if not self.hand.sure and self.counts:
            if (old := self._same(optimizer)) is not None:
                self._replace(old, optimizer)
            elif self._over():
                with torch.no_grad():
                    self._begin(optimizer)
        self.optimizers[id(optimizer)] = optimizer

    def attach(self) -> None:
        """New probes, those that the rules ask for."""
        self.probes, self.routes = [], {}
        for probe in attach(self, self.asks):
            self.add(probe)

    def told(self, rules: Iterable[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
        """The findings of the present stage, then those of the stages before; errors of rules."""
        found, errors = diagnose(self.signals.after(self.since), rules)
        for line in found:
            line["first_step"] += self.since
        known = {line["id"] for line in found}
        return found + [line for line in self.past if line["id"] not in known], errors

    def _over(self) -> bool:
        """Have all optimizers so far taken many steps, without this one?"""
        return all(count - self.since >= STAGE for count in self.counts.values())

    def _same(self, optimizer: Any) -> int | None:
        """The optimizer over the very parameters of this one, made anew for another rate."""
        ours = _parameters(optimizer)
        return next((k for k, o in self.optimizers.items() if _parameters(o) == ours), None)

    def _replace(self, old: int, optimizer: Any) -> None:
        self.settle()
        self.tell("rename", old, id(optimizer))
        self.counts[id(optimizer)] = self.counts.pop(old, self.step)
        del self.optimizers[old]

    def _begin(self, optimizer: Any) -> None:
        """Look at what follows as if the program began here."""
        self.settle()
        if self.record is not None:
            self.record.restart()
        self.past = [line for line in self.judge() if line["severity"] != "info"]
        self.since, self.signals = self.step, Signals()
        self.signals.steps = self.step
        self.optimizers, self.counts = {}, {id(optimizer): self.step}
        self.scores, self.views = [], []
        earlier = {probe.name: probe for probe in self.probes}
        self.attach()
        for probe in self.probes:
            probe.inherit(earlier[probe.name])
        self.schedule.restart(self.step)
        self.awake = True


def _parameters(optimizer: Any) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}
