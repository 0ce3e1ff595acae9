"""Pairs and triplets: does the loss draw together what is alike?"""

from __future__ import annotations

import math
from typing import Any

import torch

from visus.doctor.probes import Probe, probes
from visus.doctor.tape import Tape

LOOKS = 6  # the newest that are judged


@probes.member
class Pairs(Probe):
    """`pairs/given`, `pairs/learned`: how much farther apart one kind of pair is than the other,
    in standard deviations, as given to the network and behind it.

    The two kinds are the pairs of label 1 and of label 0, or anchor and positive against anchor
    and negative.
    """

    def __init__(self, host: Any):
        super().__init__(host)
        self.looks: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def backward(self, loss, tape) -> None:
        if tape is None or not tape.grad or self.signals.facts.get("task") in ("classification",):
            return
        ends = _ends(tape)
        if len(ends) == 2 and (label := _label(tape, len(ends[0][0]))) is not None:
            given, made = ([_apart(*side)] for side in zip(*ends, strict=True))
            self._put(label, given, made)
        if len(ends) == 3 and any(e.name.startswith("triplet_margin") for e in tape.entries):
            given, made = ([_apart(a, b), _apart(a, c)] for a, b, c in zip(*ends, strict=True))
            n = len(given[0])
            self._put(torch.arange(2).repeat_interleave(n) == 0, given, made)

    def _put(self, label: torch.Tensor, given: list, made: list) -> None:
        self.looks = [*self.looks[1 - LOOKS :], (label.cpu(), torch.cat(given), torch.cat(made))]

    def end(self) -> None:
        if len(self.looks) < 3:
            return
        label, given, made = (torch.cat(part) for part in zip(*self.looks, strict=True))
        other = given > 0  # a sample beside itself says nothing
        label, given, made = label[other], given[other], made[other]
        self.signals.add("pairs", "given", self.signals.steps, _effect(label, given))
        self.signals.add("pairs", "learned", self.signals.steps, _effect(label, made))


def _ends(tape: Tape) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(input, embedding) of each call of the one network, or of each argument of its one call."""
    roots = tape.roots()
    if len({id(entry.func) for entry in roots}) != 1:
        return []
    given = [t for entry in roots for t in entry.given]
    made = [t for entry in roots for t in entry.made]
    alike = len({t.shape for t in given}) == len({t.shape for t in made}) == 1
    fits = alike and len(given) == len(made) and all(t.ndim == 2 and len(t) > 7 for t in made)
    known = all(t.is_floating_point() and not t.requires_grad for t in given)
    return list(zip(given, made, strict=True)) if fits and known else []


def _label(tape: Tape, n: int) -> torch.Tensor | None:
    """Zeros and ones (or -1 and 1), one a pair, that the program compares distances by."""
    made = tape.derived()
    for entry in tape.entries:
        for t in entry.given if not isinstance(entry.func, torch.nn.Module) else ():
            if (
                id(t) not in made
                and t.numel() == n
                and set(t.unique().tolist()) in ({0, 1}, {-1, 1})
            ):
                return t.detach().flatten() > 0
    return None


def _apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.detach().float() - b.detach().float()).flatten(1).norm(dim=1).cpu()


def _effect(label: torch.Tensor, far: torch.Tensor) -> float:
    """How much larger `far` is where `label`: the difference of means in standard deviations."""
    one, other = far[label], far[~label]
    if len(one) < 16 or len(other) < 16:
        return 0.0
    spread = math.sqrt(float(one.var() + other.var()) / 2)
    return float(one.mean() - other.mean()) / max(spread, 1e-12)
