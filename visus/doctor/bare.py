"""Weights held as plain tensors outside any module: `h = x @ W1 + b1`.

No network is called in such a program, so no hook tells where a pass begins. Backward does: the
leaves of the first graph are the weights. They become the parameters of a stand-in network, and
from then on the recorder listens from one step to the next backward.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import torch
from torch import nn

from visus.doctor.attention import guarded
from visus.doctor.tape import Tape

LIGHT = 8  # steps by hand from one light look to the next; the loss is read at every one


class Bare(nn.Module):
    """Stands for the network that a program with bare tensors does not have."""

    def __init__(self, weights: dict[str, torch.Tensor]):
        super().__init__()
        for name, weight in weights.items():
            self._parameters[name] = weight  # type: ignore[assignment]  # the tensors themselves


def leaves(loss: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that backward would give a gradient, in the order data meets them."""
    found: dict[int, torch.Tensor] = {}
    seen, stack = set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        weight = getattr(node, "variable", None)  # of nodes that collect a leaf's gradient
        if weight is not None:
            found[id(weight)] = weight
        stack += [after for after, _ in node.next_functions]
    return list(found.values())[::-1]


def named(weights: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights by the names of the program's variables; "weight 3" where it has none."""
    known: dict[int, str] = {}
    frame: Any = sys._getframe()
    while frame is not None:
        for name, value in frame.f_locals.items():
            known.setdefault(id(value), name) if isinstance(value, torch.Tensor) else None
        frame = frame.f_back
    used: dict[str, torch.Tensor] = {}
    for k, weight in enumerate(weights):
        name = known.get(id(weight), "")
        used[name if name and name not in used else f"weight {k}"] = weight
    return used


class BareHost:
    """The part of the host that follows such a program."""

    names: Any
    tape: Tape | None
    optimizers: dict
    hand: Any
    schedule: Any
    awake: bool
    step: int
    looked: int
    want: bool
    busy: bool
    in_backward: bool
    thread: int
    path: list
    bare: Bare | None = None

    def tell(self, event: str, *args: Any) -> None:
        """Send an event to the probes."""
        raise NotImplementedError

    def by_grad(self, loss: Any, weights: list[torch.Tensor]) -> bool:
        """Does this call of `torch.autograd.grad` take the place of backward?

        In a program without an optimizer: of one number, by leaves. Not a penalty on gradients,
        and no inner loop of one that trains by an optimizer.
        """
        if self.busy or self.in_backward or threading.get_ident() != self.thread:
            return False
        if (self.optimizers and not self.hand.sure) or not isinstance(loss, torch.Tensor):
            return False
        return loss.numel() == 1 and all(w.is_leaf and w.requires_grad for w in weights)

    @guarded
    def _meet(self, loss: Any) -> None:
        # The first backward of a program that has called no network.
        weights = (
            leaves(loss) if isinstance(loss, torch.Tensor) and loss.grad_fn is not None else []
        )
        if weights:
            self.bare = Bare(named(weights))
            self.names.root(self.bare)
            self.tell("forward", self.bare, None, True)

    @guarded
    def _listen_bare(self) -> None:
        # From here to the next backward. A step by hand is known of only then: it is foreseen.
        after = self.step + 1
        by_hand = self.hand.sure or not self.optimizers
        full = after < 3 or not after & (after - 1) if by_hand else self.schedule.level == 2
        if by_hand and not full and after % LIGHT:
            return
        self.tape, self.path = Tape(self.step, True, full), [self.bare]
        self.tape.own = {id(p) for p in self.bare.parameters()} if self.bare else set()
        self.tape.training[id(self.bare)] = self.want = True
        self.tell("forward", self.bare, self.tape, True)
        if full:
            self.schedule.open()

    def _aside(self, tape: Tape) -> bool:
        # Between backward and the next pass: updates by hand, an evaluation.
        return bool(tape.own) and not torch.is_grad_enabled()

    def _met(self, tape: Tape | None) -> None:
        # Backward begins: the pass belongs to the step that is now known of.
        if tape is not None and self.bare is not None:
            tape.step, self.want = self.step, False
            self.looked = self.step if tape.full else self.looked
