"""Probes read signals from what the host sees. A probe is attached only where a rule asks.

@probes.member
class Temperature(Probe):              # rules ask for it as "temperature"
    def after_step(self, optimizer): self.signals.add("program", "temperature", ...)
"""

from __future__ import annotations

from typing import Any

from visus.family import Family, kebab

probes = Family("probe", package=__name__)


class Probe:
    """Base of all probes: every event does nothing. Tensors are read, never changed."""

    late = False  # True: its `end` comes after that of the others

    def __init__(self, host: Any):
        self.host, self.signals, self.names = host, host.signals, host.names
        self.name = kebab(type(self).__name__)

    def inherit(self, earlier: Any) -> None:
        """Another stage of training begins: `earlier` watched the one before."""

    def rename(self, old: int, new: int) -> None:
        """An optimizer (by id) takes the place of another over the same parameters."""

    def forward(self, module, tape, grad) -> None:
        """A network is about to run (`tape` is None when this pass is not recorded)."""

    def op(self, name, args, kwargs, result) -> None:
        """A torch call inside a network, on passes that are recorded in full."""

    def output(self, tape, module, args, result) -> None:
        """A network has run on a recorded pass."""

    def view(self, tape) -> None:
        """A recorded pass ended without backward: evaluation, generation."""

    def backward(self, loss, tape) -> None:
        """Backward begins in a step that is looked at; `tape` holds the pass, or is None."""

    def before_step(self, optimizer) -> None:
        """An optimizer is about to step, in a step that is looked at."""

    def after_step(self, optimizer) -> None:
        """An optimizer has stepped, in a step that is looked at."""

    def tick(self, ticks) -> None:
        """Steps were taken, those not looked at too: the `Tick` rows since the last call."""

    def settle(self) -> None:
        """Turn what was put by into signals: they are about to be read."""

    def loader(self, iterator) -> None:
        """A data loader began to give batches."""

    def crash(self, trace) -> None:
        """The program stopped with an exception of this traceback."""

    def end(self) -> None:
        """The program has ended; experiments are allowed."""


def attach(host: Any, asks: set[str]) -> list[Probe]:
    """One probe for each name in `asks`, those that experiment at the end last."""
    made = [make(host) for name, make in probes.items() if name in asks]
    return sorted(made, key=lambda probe: probe.late)
