"""The loss: its value at each backward, what it compares with what, and what feeds it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from visus.doctor.names import ACTIVATION, LOSS, SHAPE
from visus.doctor.probes import Probe, probes
from visus.doctor.probes.stock import (
    DataLoss,
    Stock,
    read_predictions,
)
from visus.doctor.tape import Tape, tensors


def from_call(name: str, args: Any, kwargs: dict, value: Any) -> DataLoss:
    """Read the arguments of one of torch's loss functions."""
    given = [*args, None, None]
    rest = {k: v for k, v in kwargs.items() if k not in ("input", "target")}
    place = 2 if name in ("cosine_embedding_loss", "margin_ranking_loss") else 1
    guess = kwargs.get("input", kwargs.get("input1", given[0]))
    target = kwargs.get("target", [*given, None][place])
    if (
        name == "multilabel_soft_margin_loss"
    ):  # the same by another name: the mean over all questions
        name = "binary_cross_entropy_with_logits"
    return DataLoss("matching" if matches(guess, target) else name, guess, target, rest, value)


def matches(guess: Any, target: Any) -> bool:
    """True where row i belongs to column i in every batch: a contrastive loss, not classes."""
    if not isinstance(guess, torch.Tensor) or not isinstance(target, torch.Tensor):
        return False
    n = len(target) if target.ndim == 1 and target.dtype == torch.int64 else 0
    if n < 8 or guess.ndim != 2 or guess.shape[0] != n or guess.shape[1] < n:
        return False
    return bool((target == torch.arange(n, device=target.device)).all())


def data_loss(tape: Tape, loss: torch.Tensor | None) -> DataLoss | None:
    """The call that compares predictions with targets on the way to `loss`."""
    key = id(loss), len(tape.entries)  # asked by several probes
    if key not in tape.found:
        tape.found[key] = _data_loss(tape, loss)
    return tape.found[key]


def _data_loss(tape: Tape, loss: torch.Tensor | None) -> DataLoss | None:
    entries = tape.before(loss) if loss is not None else tape.entries
    calls = [from_call(e.name, e.args, e.kwargs, e.result) for e in entries if e.name in LOSS]
    # Beside a loss on labels, one between two networks (a teacher's answers) is a penalty.
    labels = [
        c for c in calls if isinstance(c.target, torch.Tensor) and c.target.dtype == torch.int64
    ]
    if calls:
        chosen = (labels or calls)[-1]
        chosen.others = len(calls) - 1
        return chosen
    return _by_hand(tape, entries, loss)


def _by_hand(tape: Tape, entries: list, loss: Any) -> DataLoss | None:
    # Losses written out: (output - target) ** 2, -log_softmax(output)[rows, target].
    made = tape.derived()
    for entry in entries:
        given = [t for t in tensors((entry.args, entry.kwargs)) if t.ndim]
        if entry.name in ("sub", "rsub") and len(given) == 2:
            known = [id(t) in made for t in given]
            if known[0] != known[1]:
                guess, target = given if known[0] else given[::-1]
                return DataLoss("mse_loss", guess, target, {"by_hand": True}, loss)
        if entry.name in ("gather", "getitem") and len(given) >= 2:
            index = given[-1]
            if index.dtype == torch.int64 and id(given[0]) in made and given[0].ndim == 2:
                return DataLoss("nll_loss", given[0], index.flatten(), {"by_hand": True}, loss)
    return None


# The values that an activation can take; None: no limit on that side.
LIMITS = {"relu": (0, None), "relu6": (0, 6), "softplus": (0, None), "sigmoid": (0, 1), "softmax": (0, 1),
          "tanh": (-1, 1), "hardtanh": (-1, 1), "hardsigmoid": (0, 1), "log_softmax": (None, 0)}  # fmt: skip


PASSED = SHAPE | {"getitem", "select", "narrow"}  # what leaves each number as it is


def reach(tape: Tape, tensor: torch.Tensor, inside: list) -> tuple[float, float]:
    """The limits of `tensor`: those of the activation that made it, through reshapes and constants.

    `4 * sigmoid(x) - 2` lies in (-2, 2); (-inf, inf) where no bounded activation is found.
    """
    calls = inside + [(e.name, (*e.args, *e.kwargs.values()), e.result) for e in tape.entries
                      if not isinstance(e.func, nn.Module)]  # fmt: skip
    scale, shift = 1.0, 0.0
    for name, args, result in reversed(calls):
        if not any(made is tensor for made in tensors(result)):
            continue
        source = tensors(args)
        if name in LIMITS or name in ("clamp", "clip"):
            low, high = (*args[1:3], None)[:2] if name not in LIMITS else LIMITS[name]
            ends = [scale * (far if end is None else end) + shift
                    for end, far in ((low, -math.inf), (high, math.inf))]  # fmt: skip
            return min(ends), max(ends)
        step = _affine(name, args) if len(source) == 1 else None
        if step is None and name not in PASSED:
            break
        scale, shift = (scale * step[0], scale * step[1] + shift) if step else (scale, shift)
        tensor = source[0]
    return -math.inf, math.inf


def _affine(name: str, args: Any) -> tuple[float, float] | None:
    """(a, b) where the call computes a * x + b with numbers a and b; else None."""
    number = next((x for x in args if isinstance(x, (int, float))), None)
    if number is None:
        return (-1.0, 0.0) if name == "neg" else None
    if name in ("div", "truediv"):
        return (1 / number, 0.0) if number and isinstance(args[0], torch.Tensor) else None
    table = {"mul": (number, 0.0), "rmul": (number, 0.0), "add": (1.0, number), "radd": (1.0, number),
             "sub": (1.0, -number) if isinstance(args[0], torch.Tensor) else (-1.0, number),
             "rsub": (-1.0, number)}  # fmt: skip
    return table.get(name)


def last_activation(tape: Tape, tensor: torch.Tensor, inside: list) -> str:
    """The activation (softmax, relu, ...) that made `tensor`, looked up through reshapes."""
    seen = [(e.name, e.args, e.result) for e in tape.entries if not isinstance(e.func, nn.Module)]
    calls = inside + seen
    for name, args, result in reversed(calls):
        if not any(made is tensor for made in tensors(result)):
            continue
        if name in ACTIVATION:
            return name
        source = tensors(args)
        if name in PASSED and source:
            tensor = source[0]
            continue
        return name
    return ""


@probes.member
class Loss(Probe):
    """`loss/value` and `loss/rate` at each step; facts about the loss call on recorded passes."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.inside: list = []
        self.stock = Stock()
        self.inner: DataLoss | None = None
        self.trained = 0  # backward calls on recorded passes in training mode
        self.owners: set[int] = set()  # optimizers that step first after a backward

    def forward(self, module, tape, grad) -> None:
        if tape is not None and not tape.entries:
            self.inside, self.inner = [], None

    def op(self, name, args, kwargs, result) -> None:
        self.inside = [*self.inside[-5:], (name, (*args, *kwargs.values()), result)]
        if name in LOSS:
            self.inner = from_call(name, args, kwargs, result)

    def backward(self, loss, tape) -> None:
        if loss is None or loss.numel() != 1:
            return
        # A loss made anew from numbers has no way back to any weight.
        if "leaf_loss" not in self.signals.facts:
            self.signals.facts["leaf_loss"] = not self._rooted(loss.grad_fn)
        if not math.isfinite(float(loss)):
            self._broken(loss, tape)
        if tape is not None:
            found = data_loss(tape, loss) or self.inner
            self.trained += found is not None and any(tape.training.values())
            self._read(tape, loss, found)
        self.inside, self.inner = [], None

    def _rooted(self, node: Any) -> bool:
        """Does the graph behind this node lead to a weight of a network? (To any node made
        elsewhere than in torch too: a checkpoint hides what lies behind it.)"""
        open_, seen = [node], set()
        while open_:
            node = open_.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if self.names.parameter(leaf) is not None or hasattr(node, "saved_for_backward"):
                return True
            open_.extend(before for before, _ in node.next_functions)
        return False

    def _broken(self, loss, tape) -> None:
        facts = self.signals.facts
        if "broken" in facts:
            return
        weights = [p for root in self.names.roots for p in root.parameters()]
        bad = sum(not bool(torch.isfinite(p).all()) for p in weights)
        facts["broken"] = {"step": self.host.step, "weights": bad, "op": "", "input": False}
        if tape is not None:
            for entry in tape.entries:
                inputs_fine = all(_finite(t) for t in tensors((entry.args, entry.kwargs)))
                if inputs_fine and not all(_finite(t) for t in tensors(entry.result)):
                    facts["broken"]["op"] = entry.name
                    break
                if isinstance(entry.func, nn.Module) and not inputs_fine:
                    facts["broken"]["input"] = True
                    break

    def _read(self, tape: Tape, loss, found: DataLoss | None) -> None:
        step, s = self.host.step, self.signals
        facts = s.facts
        if found is None or not isinstance(found.input, torch.Tensor):
            self.host.keep(tape, [loss], {"kind": "", "step": step})
            return
        facts.setdefault("task", found.task)
        facts.setdefault("kind", found.kind)
        facts.setdefault("by_hand", bool(found.kwargs.get("by_hand")))
        facts["kinds"] = facts.get("kinds", set()) | {found.kind}
        alone = not found.others  # else what is added to it may be another loss on the data
        if alone and isinstance(found.value, torch.Tensor) and found.value.numel() == 1:
            s.add("loss", "data", step, float(found.value))
            s.add("loss", "total", step, float(loss))
        if found.kwargs.get("by_hand") and (plain := written_out(found)) is not None:
            s.add("loss", "turned", step, float(loss) / plain)
        s.add("batch", "size", step, found.input.shape[0] if found.input.ndim else 1)
        if tape.full:
            low, high = reach(tape, found.input, self.inside)
            s.add("prediction", "reach_low", step, low)
            s.add("prediction", "reach_high", step, high)
            if isinstance(found.target, torch.Tensor) and found.target.is_floating_point():
                # The part of the target's variance that no output can explain.
                goal = found.target.detach().float()
                lost = (goal - goal.clamp(low, high)).square().mean() / goal.var().clamp_min(1e-12)
                s.add("target", "beyond", step, float(lost) if goal.numel() > 1 else 0.0)
        activation = last_activation(tape, found.input, self.inside)
        if activation or "last_activation" not in facts:  # passes half recorded do not show it
            facts["last_activation"] = activation
        if self.stock.put(step, found):
            self.settle()
        self._keep(tape, loss, found)

    def settle(self) -> None:
        for steps, found, _ in self.stock.take():
            read_predictions(self.signals, steps, found)

    def _keep(self, tape: Tape, loss, found: DataLoss) -> None:
        if not found.kwargs.get("by_hand") and not any(
            made is found.input for e in tape.entries for made in tensors(e.result)
        ):
            self.host.keep(tape, [loss], {"kind": "", "step": self.host.step})
            return
        goals = [loss, found.input, found.target]
        facts = {"kind": found.kind, "step": self.host.step, "options": found.options}
        self.host.keep(tape, goals, facts)

    def rename(self, old: int, new: int) -> None:
        self.owners.discard(old)

    def tick(self, ticks) -> None:
        for row in ticks:
            if row.losses:
                self.owners.add(id(row.optimizer))
                numbers = [float(value) for value in row.losses]
                self.signals.add("loss", "value", row.number + 1, sum(numbers) / len(numbers))
                self.signals.add("loss", "count", row.number + 1, len(numbers))

    def end(self) -> None:
        # Several optimizers that share each backward (one a part of the network) train one network.
        counts = self.host.counts.values()  # the last step may have been cut short
        same = bool(counts) and max(counts) - min(counts) <= 1
        self.signals.facts["backwards"] = self.trained
        self.signals.facts["one_loss"] = same and len(self.owners) == 1


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def written_out(found: DataLoss) -> float | None:
    """The mean of the loss that a hand-written one looks like; None where it is another, or 0."""
    guess, target = found.input.detach().float(), found.target
    if not isinstance(target, torch.Tensor) or not guess.numel():
        return None
    if found.kind == "nll_loss":
        known = guess.ndim == 2 and target.shape == guess.shape[:1] and float(guess.max()) <= 0
        if not known or int(target.min()) < 0 or int(target.max()) >= guess.shape[1]:
            return None
        mean = -float(guess.gather(1, target[:, None]).mean())
    else:
        mean = float((guess - target).square().mean()) if target.shape == guess.shape else 0.0
    return mean or None
