"""A tape of what the program does between calling its network and calling backward.

The recorder is a torch function mode: it sees each torch call by name with its real
arguments, passes it on unchanged, and takes notes. A finished tape holds no graph and can be
played again on copies of the networks: that is how the doctor experiments with a program
whose source it has never read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

from visus.doctor.names import operation


class Recorder(TorchFunctionMode):
    """Reports every torch call to `note(name, func, args, kwargs, result)`; changes none."""

    def __init__(self, note: Callable[..., None]):
        super().__init__()
        self._note = note

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.inside += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self.inside -= 1
        self._note(operation(func), func, args, kwargs, result)
        return result

    active = False
    inside = 0  # > 0 within a call that torch handed to us (backward, say): torch has set the
    # mode aside and will put it back, so it can be neither pushed nor popped now

    def on(self) -> None:
        """Start to listen (no effect when it already does)."""
        if not self.active and not self.inside:
            self.active = True
            _push_mode(self)

    def off(self) -> None:
        """Stop to listen, whatever modes the program has entered meanwhile."""
        if not self.active or self.inside:
            return
        self.active, above = False, []
        if not any(mode is self for mode in _get_current_function_mode_stack()):
            return
        while (top := _pop_mode()) is not self:
            above.append(top)
        for mode in reversed(above):
            _push_mode(mode)


class Entry:
    """One call: `func` is a torch function, or the network itself for a forward call."""

    __slots__ = ("_given", "_made", "args", "func", "kwargs", "name", "result", "rng")

    def __init__(self, name: str, func: Any, args: Any, kwargs: Any, result: Any, rng: Any = None):
        self.name, self.func, self.args = name, func, args
        self.kwargs, self.result = kwargs, result
        self.rng = rng  # the state of torch's generator when a network began to run
        self._given: list | None = None
        self._made: list | None = None

    @property
    def given(self) -> list[torch.Tensor]:
        """The tensors among the arguments."""
        if self._given is None:
            self._given = tensors((self.args, self.kwargs))
        return self._given

    @property
    def made(self) -> list[torch.Tensor]:
        """The tensors of the result."""
        if self._made is None:
            self._made = tensors(self.result)
        return self._made


class Slot(int):
    """Stands for a tensor that an earlier entry of the tape made."""


class Outside:
    """Stands for a tensor from outside the tape, kept as a copy: the batch, the targets."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: torch.Tensor):
        with torch.inference_mode(False), torch.no_grad():
            self.tensor = tensor.detach().clone()


class Own:
    """Stands for a parameter (or buffer) of one of the networks, by identity."""

    __slots__ = ("key",)

    def __init__(self, key: int):
        self.key = key


def walk(tree: Any, change: Callable[[Any], Any]) -> Any:
    """`tree` with each tensor replaced by `change(tensor)`; lists, tuples and dicts kept."""
    if isinstance(tree, (torch.Tensor, Slot, Outside, Own)):
        return change(tree)
    if hasattr(tree, "_fields"):
        return type(tree)(*(walk(item, change) for item in tree))
    if type(tree) is list or (isinstance(tree, tuple) and type(tree) is not torch.Size):
        return type(tree)(walk(item, change) for item in tree)
    if isinstance(tree, dict):
        return {key: walk(item, change) for key, item in tree.items()}
    return tree


def tensors(tree: Any) -> list[torch.Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    found: list[torch.Tensor] = []
    _gather(tree, found)
    return found


def _gather(tree: Any, found: list) -> None:
    if isinstance(tree, (torch.Tensor, Slot, Outside, Own)):
        found.append(tree)
    elif isinstance(tree, (list, tuple)):  # also what `max(1)` returns
        for item in tree:
            _gather(item, found)
    elif isinstance(tree, dict):
        for item in tree.values():
            _gather(item, found)


class Tape:
    """The calls of one forward pass of the program, from batch to loss."""

    def __init__(self, step: int, grad: bool, full: bool):
        self.step, self.grad, self.full = step, grad, full
        self.entries: list[Entry] = []
        self.rng = torch.get_rng_state() if grad else None
        self.whole = True  # False: something on it cannot be played again
        self.training: dict[int, bool] = {}
        self.own: set[int] = set()  # ids of weights that belong to no module
        self.found: dict[tuple[int, int], Any] = {}  # the data loss on the way to a tensor
        self._before: dict[tuple[int, int], list[Entry]] = {}  # asked for by several probes

    def add(self, name: str, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Note one call."""
        rng = self.rng if isinstance(func, nn.Module) else None
        self.entries.append(Entry(name, func, args, kwargs, result, rng))

    def enter(self) -> None:
        """A network is about to run: its random numbers begin here."""
        if self.grad:
            self.rng = torch.get_rng_state()

    def roots(self) -> list[Entry]:
        """The forward calls of networks on this tape."""
        return [entry for entry in self.entries if isinstance(entry.func, nn.Module)]

    def maker(self, tensor: torch.Tensor) -> Entry | None:
        """The entry that made (or last changed in place) this very tensor."""
        for entry in reversed(self.entries):
            if any(made is tensor for made in entry.made):
                return entry
        return None

    def derived(self) -> set[int]:
        """Ids of all tensors that were computed from what the networks gave."""
        known: set[int] = set(self.own)
        for entry in self.entries:
            network = isinstance(entry.func, nn.Module)
            if network or any(id(t) in known for t in entry.given):
                known.update(id(made) for made in entry.made)
        return known

    def before(self, tensor: torch.Tensor) -> list[Entry]:
        """The entries that `tensor` was computed from, in their order."""
        key = id(tensor), len(self.entries)
        if key not in self._before:
            wanted, kept = {id(tensor)}, []
            for entry in reversed(self.entries):
                if any(id(made) in wanted for made in entry.made):
                    kept.append(entry)
                    wanted.update(id(t) for t in entry.given)
            self._before[key] = kept[::-1]
        return self._before[key]


class Score:
    """A tape made ready to be played: the part that leads to `goals`, without any graph.

    Args:
        tape: what was recorded. goals: the tensors to compute again (the loss first).
        own: ids of the networks' parameters and buffers.
    """

    def __init__(self, tape: Tape, goals: list[torch.Tensor], own: set[int]):
        self.step, self.training = tape.step, tape.training
        self.steps: list[tuple[Any, Any, Any, list[int], Any]] = []
        self._bare = bool(tape.own)
        wanted: dict[int, Entry] = {}
        for goal in goals:
            wanted.update({id(entry): entry for entry in tape.before(goal)})
        slots: dict[int, int] = {}
        outside: dict[int, Outside] = {}
        self.batch: Outside | None = None  # the first tensor that the network was given
        for entry in [e for e in tape.entries if id(e) in wanted]:
            # What does not come from the network (a batch cut from the data) is kept as it is.
            given = {id(t) for t in entry.given}
            if isinstance(entry.func, nn.Module) or given & (slots.keys() | own):
                self._compile(entry, slots, outside, own)
        self.goals = [walk(goal, lambda t: self._place(t, slots, outside, own)) for goal in goals]

    def _place(self, tensor, slots, outside, own):
        if id(tensor) in slots:
            return Slot(slots[id(tensor)])
        if id(tensor) in own:
            return Own(id(tensor))
        if id(tensor) not in outside:
            outside[id(tensor)] = Outside(tensor)
        return outside[id(tensor)]

    def _compile(self, entry: Entry, slots, outside, own) -> None:
        args = walk(entry.args, lambda t: self._place(t, slots, outside, own))
        kwargs = walk(entry.kwargs, lambda t: self._place(t, slots, outside, own))
        out = []
        for made in entry.made:
            slots[id(made)] = slots.get(id(made), len(slots))
            out.append(slots[id(made)])
        self.steps.append((entry.func, args, kwargs, out, entry.rng))
        if self.batch is None and (self._bare or isinstance(entry.func, nn.Module)):
            found: list[Outside] = []
            walk((args, kwargs), lambda t: found.append(t) if isinstance(t, Outside) else None)
            self.batch = found[0] if found else None

    def size(self) -> int:
        """The number of samples in the batch that the network was given."""
        return (
            self.batch.tensor.shape[0] if self.batch is not None and self.batch.tensor.ndim else 0
        )

    def known(self, goal: int) -> torch.Tensor | None:
        """A goal that came from outside the tape (the targets, as a rule): no pass computes it."""
        found = self.goals[goal] if goal < len(self.goals) else None
        return found.tensor if isinstance(found, Outside) else None

    def play(
        self,
        modules: dict[int, nn.Module],
        own: dict[int, torch.Tensor],
        rows: slice | torch.Tensor | None = None,
        tweak: Callable[[torch.Tensor], torch.Tensor] | None = None,
        same: bool = True,
    ) -> list[Any]:
        """Compute the goals again on copies; `rows` takes part of the batch, `tweak` edits inputs.

        `same`: each network runs with the random numbers that it had. The caller gives torch's
        generator its state back.
        """
        made: dict[int, Any] = {}
        size = self.size()

        def find(leaf: Any) -> Any:
            if isinstance(leaf, Slot):
                return made[int(leaf)]
            if isinstance(leaf, Own):
                return own[leaf.key]
            tensor = leaf.tensor
            if rows is not None and tensor.ndim and tensor.shape[0] == size:
                tensor = tensor[rows]
            return tensor.clone()

        for func, args, kwargs, out, rng in self.steps:
            given, named = walk(args, find), walk(kwargs, find)
            network = isinstance(func, nn.Module)
            if network and tweak is not None:
                given = walk(given, tweak)
            if same and rng is not None:
                torch.set_rng_state(rng)
            result = (modules[id(func)] if network else func)(*given, **named)
            for slot, tensor in zip(out, tensors(result), strict=False):
                made[slot] = tensor
        return [walk(goal, find) for goal in self.goals]
