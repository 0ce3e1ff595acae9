"""Programs that update their weights themselves: `p -= rate * p.grad`, without an optimizer."""

from __future__ import annotations

from typing import Any

import torch

REGULAR = 8  # steps that followed backward, one each, until they are taken for granted


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
        self.due = False  # a step is taken for granted, because it followed backward so far
        self._row = 0  # backward calls in a row that a step followed
        self._witness: torch.Tensor | None = None
        self._old: torch.Tensor | None = None
        self._grad: torch.Tensor | None = None

    def foreseen(self) -> bool:
        """Backward is over: will a step follow as it always did? Then nothing need be noted."""
        self.due = self._row >= REGULAR
        return self.due

    def note(self, closely: bool) -> None:
        """Backward is over: note the weights that are about to change; `closely`: the rate too."""
        witness = self._witness
        if witness is None or witness.grad is None or not bool(witness.grad.any()):
            witness = self._choose()
        self._witness, self._old = witness, None
        if witness is not None and witness.grad is not None:
            self._old = witness.detach().clone()
            self._grad = witness.grad.clone() if closely else None

    def _choose(self) -> torch.Tensor | None:
        # The smallest weight that has a gradient.
        params = [p for root in self.names.roots for p in root.parameters() if p.requires_grad]
        self.param_groups[0]["params"] = params
        live = [p for p in params if p.grad is not None and bool(p.grad.any())]
        return min(live, key=lambda p: p.numel(), default=None)

    def stepped(self) -> bool:
        """Have the weights changed since `note`? Answers once, and reads the rate."""
        witness, old, grad = self._witness, self._old, self._grad
        if witness is None or old is None or torch.equal(witness, old):
            self._row = 0
            return False
        self._old, self._row = None, self._row + 1
        if grad is None or old.shape != witness.shape:
            return True
        change, size = (witness.detach() - old).flatten(), grad.square().sum()
        along = float(change @ grad.flatten() / size)
        off = change - along * grad.flatten()
        if float(off.norm()) < 0.01 * float(change.norm()):
            self.param_groups[0]["lr"] = -along
        return True
