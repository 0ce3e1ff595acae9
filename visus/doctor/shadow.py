"""A copy of the program's networks for experiments: what happens there stays there."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from visus.doctor.names import Names, unwrap
from visus.doctor.tape import Score


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give every random generator its state back afterwards."""
    numpy = sys.modules.get("numpy")
    held, plain = torch.get_rng_state(), random.getstate()
    array = numpy.random.get_state() if numpy is not None else None
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        torch.set_rng_state(held)
        random.setstate(plain)
        if numpy is not None:
            numpy.random.set_state(array)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def _put_by(roots: list[nn.Module]) -> dict[int, Any]:
    """Results of a pass that modules keep (a cache of features): torch copies only their values."""
    found: dict[int, Any] = {}
    held, seen = [vars(m) for root in roots for m in root.modules()], set()
    while held:
        item = held.pop()
        if isinstance(item, torch.Tensor) and item.grad_fn is not None:
            found[id(item)] = item.detach().clone()
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            held.extend(item.values() if isinstance(item, dict) else item)
    return found


class Shadow:
    """Copies of the networks, kept in step with the originals on demand.

    The copies have none of the program's own hooks: a hook may write to the program.
    """

    def __init__(self, names: Names):
        self.originals = list(names.roots)
        with undisturbed():
            self.copies: list[nn.Module] = copy.deepcopy(self.originals, _put_by(self.originals))
        for module in (m for root in self.copies for m in root.modules()):
            for hooks in (module._forward_hooks, module._forward_pre_hooks,
                          module._backward_hooks, module._backward_pre_hooks):  # fmt: skip
                for key, hook in list(hooks.items()):
                    if not (getattr(hook, "__module__", "") or "").startswith("torch"):
                        del hooks[key]
        self.pairs = [
            (mine, theirs)
            for copied, original in zip(self.copies, self.originals, strict=True)
            for mine, theirs in zip(_state(copied), _state(original), strict=True)
        ]
        self.own = {id(theirs): mine for mine, theirs in self.pairs}
        self._copy_of = dict(zip(map(id, self.originals), self.copies, strict=True))
        self._still = False

    def follow(self) -> None:
        """Take over the present weights, statistics and modes of the originals."""
        self.put([theirs for _, theirs in self.pairs])
        for copied, original in zip(self.copies, self.originals, strict=True):
            for mine, theirs in zip(copied.modules(), original.modules(), strict=True):
                if mine.training != theirs.training:  # to set an attribute of a module is dear
                    mine.training = theirs.training

    def outdated(self, names: Names) -> bool:
        """Have networks been met since, or layers of them been replaced?"""
        now = [t for root in names.roots for t in _state(root)]
        same = len(now) == len(self.pairs)
        return not same or any(a is not b for a, (_, b) in zip(now, self.pairs, strict=True))

    def keep(self) -> list[torch.Tensor]:
        """The state of the copies, to `put` back later."""
        return [mine.detach().clone() for mine, _ in self.pairs]

    def put(self, state: list[torch.Tensor]) -> None:
        """Restore what `keep` returned."""
        with torch.no_grad():
            torch._foreach_copy_([mine for mine, _ in self.pairs], state)

    def mode(self, training: bool | None = None, *, dropout: bool = True) -> None:
        """Set train or eval mode; `dropout=False` silences dropout alone."""
        for module in (m for root in self.copies for m in root.modules()):
            if training is not None:
                module.training = training
            if not dropout and "Dropout" in type(module).__name__:
                module.training = False

    def parameters(self) -> list[torch.Tensor]:
        """The trainable parameters of the copies."""
        return [p for root in self.copies for p in root.parameters() if p.requires_grad]

    @contextmanager
    def thawed(self) -> Iterator[None]:
        """Every weight of the copies may learn, the frozen ones too."""
        frozen = [p for root in self.copies for p in root.parameters()
                  if not p.requires_grad and p.is_floating_point()]  # fmt: skip
        try:
            for p in frozen:
                p.requires_grad_(True)
            yield
        finally:
            for p in frozen:
                p.requires_grad_(False)

    def play(
        self, score: Score, *, rows: Any = None, same: bool = True, grad: bool = False,
        tweak: Callable | None = None,
    ) -> list[Any]:  # fmt: skip
        """Play a tape on the copies. `same`: with the random numbers of the original pass."""
        modules = {
            id(func): self._copy_of.get(id(unwrap(func)), func)
            for func, *_ in score.steps
            if isinstance(func, nn.Module)
        }
        with nullcontext() if self._still else undisturbed(), torch.set_grad_enabled(grad):
            return score.play(modules, self.own, rows, tweak, same)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Many plays in a row: the random generators get their state back once, at the end."""
        with undisturbed():
            self._still = True
            try:
                yield
            finally:
                self._still = False


def _state(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
