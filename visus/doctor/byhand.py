"""Programs that update their weights themselves: `p -= rate * p.grad`, without an optimizer."""

from __future__ import annotations

from typing import Any

import torch


class ByHand:
    """Stands for the optimizer that such a program does not have.

    After a backward call a small weight and its gradient are noted; when the weight has changed
    before the next pass begins, a step was taken. Where the change is a multiple of the
    gradient, that multiple is the learning rate.
    """

    def __init__(self, names: Any):
        self.names = names
        self.param_groups: list[dict[str, Any]] = [{"params": [], "lr": 0.0}]
        self.sure = False  # has a step been seen?
        self._witness: torch.Tensor | None = None
        self._old: torch.Tensor | None = None
        self._grad: torch.Tensor | None = None

    def note(self) -> None:
        """Backward is over: note the weights that are about to change."""
        params = [p for root in self.names.roots for p in root.parameters() if p.requires_grad]
        self.param_groups[0]["params"] = params
        live = [p for p in params if p.grad is not None and bool(p.grad.any())]
        self._witness = min(live, key=lambda p: p.numel(), default=None)
        if self._witness is not None and self._witness.grad is not None:
            self._old, self._grad = self._witness.detach().clone(), self._witness.grad.clone()

    def stepped(self) -> bool:
        """Have the weights changed since `note`? Answers once, and reads the rate."""
        witness, old, grad = self._witness, self._old, self._grad
        if witness is None or old is None or grad is None or torch.equal(witness, old):
            return False
        self._witness = None
        change, size = (witness.detach() - old).flatten(), grad.square().sum()
        along = float(change @ grad.flatten() / size)
        off = change - along * grad.flatten()
        if float(off.norm()) < 0.01 * float(change.norm()):
            self.param_groups[0]["lr"] = -along
        return True
