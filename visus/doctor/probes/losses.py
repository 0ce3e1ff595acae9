"""The loss: its value at each backward, what it compares with what, and what feeds it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from visus.doctor.names import ACTIVATION, LOSS, SHAPE
from visus.doctor.probes import Probe, probes
from visus.doctor.tape import Tape, tensors

CROSS = ("cross_entropy", "nll_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
SQUARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


class DataLoss:
    """A loss function's call: `kind` (its torch name), the prediction, the target, options."""

    def __init__(self, kind: str, given: Any, target: Any, kwargs: dict, value: Any):
        self.kind, self.input, self.target = kind, given, target
        self.kwargs, self.value = kwargs, value
        self.others = 0  # losses of other kinds that are added to it

    @property
    def learns(self) -> bool:
        """True where a gradient will run through it: no evaluation."""
        given = (self.input, self.target)
        return any(isinstance(t, torch.Tensor) and t.requires_grad for t in given)

    @property
    def task(self) -> str:
        """classification, binary, regression or other."""
        if self.kind in CROSS:
            return "classification"
        return (
            "binary" if self.kind in BINARY else "regression" if self.kind in SQUARED else "other"
        )

    def wrong(self) -> torch.Tensor | None:
        """Error by sample: 0/1 for classes, squared error for numbers; None where undefined."""
        guess, target = self.input, self.target
        if not isinstance(guess, torch.Tensor) or not isinstance(target, torch.Tensor):
            return None
        if self.task == "classification" and guess.ndim == 2:
            target = target.argmax(1) if target.ndim == 2 else target
            return (guess.argmax(1) != target).float()
        if self.task == "binary" and guess.shape == target.shape:
            limit = 0.0 if self.kind.endswith("logits") else 0.5
            return ((guess > limit) != (target > 0.5)).float().flatten(1).mean(1) if (
                guess.ndim > 1) else ((guess > limit) != (target > 0.5)).float()  # fmt: skip
        if self.task == "regression" and guess.shape == target.shape and guess.ndim:
            return ((guess - target).float() ** 2).flatten(1).mean(1) if guess.ndim > 1 else (
                guess - target).float() ** 2  # fmt: skip
        return None


def from_call(name: str, args: Any, kwargs: dict, value: Any) -> DataLoss:
    """Read the arguments of one of torch's loss functions."""
    given = [*args, None, None]
    rest = {k: v for k, v in kwargs.items() if k not in ("input", "target")}
    guess, target = kwargs.get("input", given[0]), kwargs.get("target", given[1])
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
        if step is None and name not in SHAPE:
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
        if name in SHAPE and source:
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
        self.held: list[tuple[int, list]] = []  # losses not yet written down
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
        # A loss made anew from a number has no way back to any weight.
        self.signals.facts.setdefault("leaf_loss", loss.grad_fn is None)
        if not math.isfinite(float(loss)):
            self._broken(loss, tape)
        if tape is not None:
            found = data_loss(tape, loss) or self.inner
            self.trained += found is not None and any(tape.training.values())
            self._read(tape, loss, found)
        self.inside, self.inner = [], None

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
        read_prediction(s, step, found, last_activation(tape, found.input, self.inside))
        self._keep(tape, loss, found)

    def _keep(self, tape: Tape, loss, found: DataLoss) -> None:
        if not found.kwargs.get("by_hand") and not any(
            made is found.input for e in tape.entries for made in tensors(e.result)
        ):
            self.host.keep(tape, [loss], {"kind": "", "step": self.host.step})
            return
        goals = [loss, found.input, found.target]
        self.host.keep(tape, goals, {"kind": found.kind, "step": self.host.step})

    def tick(self, optimizer, step, losses) -> None:
        if losses:
            self.owners.add(id(optimizer))
            self.held.append((step + 1, losses))
        if len(self.held) > 63:
            self._write()

    def _write(self) -> None:
        held, self.held = self.held, []
        for step, losses in held:
            numbers = [float(value) for value in losses]
            self.signals.add("loss", "value", step, sum(numbers) / len(numbers))
            self.signals.add("loss", "count", step, len(numbers))

    def end(self) -> None:
        self._write()
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


def read_prediction(s: Any, step: int, found: DataLoss, activation: str) -> None:
    """What kind of numbers reach the loss, and can they reach the target?"""
    guess, target = found.input.detach().float(), found.target
    if activation or "last_activation" not in s.facts:  # passes half recorded do not show it
        s.facts["last_activation"] = activation
    if guess.ndim == 0 or guess.numel() == 0:
        return
    s.add("prediction", "min", step, float(guess.min()))
    s.add("prediction", "max", step, float(guess.max()))
    s.add("prediction", "width", step, guess.shape[1] if guess.ndim > 1 else 1)
    s.add("prediction", "spread", step, float(guess.std(0).mean()) if guess.shape[0] > 1 else 0.0)
    if guess.ndim == 2 and guess.shape[1] > 1:
        s.add("prediction", "row_sum_off", step, float((guess.sum(1) - 1).abs().max()))
        s.add("prediction", "column_sum_off", step, float((guess.sum(0) - 1).abs().max()))
        s.add("prediction", "log_sum", step, float(guess.logsumexp(1).abs().max()))
    if isinstance(target, torch.Tensor) and target.is_floating_point() and target.numel():
        goal = target.float()
        s.add("target", "min", step, float(goal.min()))
        s.add("target", "max", step, float(goal.max()))
        s.add("target", "std", step, float(goal.std()) if goal.numel() > 1 else 0.0)
        s.add("target", "rms", step, float(goal.square().mean().sqrt()))
        # Shapes that do not match are broadcast: (N, 1) against (N,) compares all pairs.
        s.add("target", "shape_off", step, float(target.shape != found.input.shape))
        out = torch.broadcast_shapes(target.shape, found.input.shape)
        s.add("target", "pairs", step, math.prod(out) / max(found.input.numel(), target.numel()))
