"""The program around the network: modes, evaluation, waiting, several losses."""

from __future__ import annotations

import functools
import math
import time
from typing import Any

import torch
from torch import nn

from visus.doctor.names import unwrap
from visus.doctor.probes import Probe, probes
from visus.doctor.probes.answers import note_answers
from visus.doctor.probes.certainty import read_certainty
from visus.doctor.probes.losses import data_loss
from visus.doctor.probes.stock import DataLoss
from visus.doctor.tape import tensors

SAMPLES = 128  # of one batch that are looked at again at the end
SWITCHES = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def switched(root: nn.Module) -> dict[str, nn.Module]:
    """Layers that behave otherwise in evaluation, by name: batch norm, dropout above 0."""
    return {
        name or type(part).__name__: part
        for name, part in root.named_modules()
        if isinstance(part, SWITCHES) and getattr(part, "p", 1.0) > 0
    }


@probes.member
class Modes(Probe):
    """Train or eval mode of each training pass and each scored evaluation pass."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.layers: dict[int, dict[str, nn.Module]] = {}
        self.serves: dict[int, bool] = {}  # does this optimizer train the one network?
        self.now: dict[int, bool] = {}
        self.seen: dict[int, bool] = {}

    def forward(self, module, tape, grad) -> None:
        inner = unwrap(module)
        if id(inner) not in self.layers:
            self.layers[id(inner)] = switched(inner)
            self.signals.facts.setdefault("mode_layers", []).extend(self.layers[id(inner)])
        if grad:
            # A frozen backbone in eval mode inside a network in train mode is a choice.
            self.now[id(inner)] = module.training
        else:
            self.seen[id(inner)] = any(part.training for part in self.layers[id(inner)].values())

    def tick(self, ticks) -> None:
        # One network: its mode is read at every step, for it costs nothing.
        roots = self.names.roots
        if len(roots) != 1 or not self.layers.get(id(root := roots[0])):
            return
        for row in ticks:
            if row.training is not None and self._trains(row.optimizer, root):
                self.signals.add("mode", "train", row.number, float(row.training))

    def _trains(self, optimizer, root: nn.Module) -> bool:
        # The next fold of a cross-validation brings its own network and optimizer.
        key = id(optimizer)
        if key not in self.serves:
            own = {id(p) for p in root.parameters()}
            groups = optimizer.param_groups
            self.serves[key] = any(id(p) in own for group in groups for p in group["params"])
        return self.serves[key]

    def backward(self, loss, tape) -> None:
        for root in self.names.roots if len(self.names.roots) > 1 else ():
            known = id(root) in self.now and self.layers.get(id(root))
            if known and any(p.requires_grad for p in root.parameters()):
                self.signals.add("mode", "train", self.host.step, float(self.now[id(root)]))
        self.now = {}

    def view(self, tape) -> None:
        found = data_loss(tape, None)
        scored = found is not None or any(
            e.name in ("eq", "ne", "argmax", "max", "gt", "ge") for e in tape.entries
        )
        if not scored or tape.grad or (found is not None and found.learns):
            return  # a pass whose result is a target for another network serves training
        for root in self.names.roots:
            if id(root) in tape.training and self.layers.get(id(root)):
                # What counts is the layers: without them in train mode the result is right.
                self.signals.add("mode", "eval", self.host.step, float(self.seen.get(id(root), 0)))


def compared(tape, batch: Any, facts: dict) -> DataLoss | None:
    """What an evaluation pass compares: by a loss, by ==, or the loader's own targets.

    Only what is of the same task as the training loss: an angle beside a class says nothing of it.
    """
    found, task = data_loss(tape, None), facts.get("task")
    if found is not None and task in (None, "other", found.task):
        # A pass without gradients beside others with: its result is a target of training.
        return None if found.learns and not tape.grad else found
    roots = tape.roots()
    if not roots or not isinstance(roots[-1].result, torch.Tensor | tuple):
        return None
    made = tape.derived()
    for entry in tape.entries:
        given = tensors(entry.args) if entry.name in ("eq", "ne") else []
        outside = [t for t in given if id(t) not in made]
        if len(given) == 2 and len(outside) == 1:
            answer = next(t for t in given if t is not outside[0])
            if (found := _equal(tape, answer, outside[0], facts)) is not None:
                return found
    output = roots[-1].result
    if isinstance(batch, (list, tuple)) and len(batch) == 2 and (
        isinstance(output, torch.Tensor) and output.ndim == 2):  # fmt: skip
        x, y = batch
        same = isinstance(x, torch.Tensor) and any(x is t for t in tensors(roots[-1].args))
        if same and isinstance(y, torch.Tensor) and y.dtype == torch.int64 and y.ndim == 1:
            return DataLoss("cross_entropy", output, y, {"by_hand": True}, None)
    return None


def _equal(tape, answer: torch.Tensor, label: torch.Tensor, facts: dict) -> DataLoss | None:
    """The loss of `answer == label`: classes named by argmax, or a number beyond a threshold."""
    source = _scores(tape, answer)
    if source is None or not source.ndim:
        return None
    steady = {"softmax", "log_softmax"} | (
        {"sigmoid"} if facts.get("kind", "").endswith("logits") else set()
    )
    while (entry := tape.maker(source)) is not None and entry.name in steady:
        source = tensors(entry.args)[0]
    options = {"by_hand": True}
    if source.ndim == 2 and source.shape[1] > 1 and source.shape[0] == label.numel():
        return DataLoss("cross_entropy", source, label.flatten().long(), options, None)
    if facts.get("task") == "binary" and source.numel() == label.numel():
        label = label.reshape(source.shape).float()
        return DataLoss(facts["kind"], source, label, options, None)
    return None


def _scores(tape, answer: torch.Tensor) -> torch.Tensor | None:
    # Back from the named classes to the numbers that they were named by.
    for _ in range(6):
        entry = tape.maker(answer)
        if entry is None or isinstance(entry.func, nn.Module):
            return answer if entry is not None else None
        answer, name = next(iter(tensors(entry.args)), answer), entry.name
        if name in ("argmax", "max", "topk", "gt", "ge", "round"):
            return answer
    return None


def spread(n: int) -> torch.Tensor:
    """Which of n samples are looked at again: from all over, held-out sets are often sorted by class."""
    return torch.linspace(0, n - 1, min(n, SAMPLES)).long()


def fingerprints(x: torch.Tensor) -> list[float]:
    """One number a sample, equal for equal samples: tells train from validation batches."""
    if x.ndim < 2:
        return []
    flat = x.detach().flatten(1)
    flat = flat[:, :: max(flat.shape[1] // 512, 1)].double()  # every so many pixels will do
    # To nine digits, not places: inputs may be tiny.
    return [float(f"{v:.9g}") for v in (flat @ _weights(flat.shape[1], x.device)).tolist()]


@functools.cache
def _weights(n: int, device: torch.device) -> torch.Tensor:
    # No evenly spaced ones: pixels are whole multiples of 1/255, and their sums would meet.
    place = torch.arange(n, dtype=torch.float64, device=device)
    return torch.cos(place.square() * 0.7 + 1)


@probes.member
class Views(Probe):
    """Loss and error of evaluation passes, by whether their samples were trained on."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.trained: set[float] = set()
        self.read = 0  # training samples read, repeated ones too
        self.rows: dict[int, list] = {}
        self.seen: dict[int, set[float]] = {}

    def output(self, tape, module, args, result) -> None:
        if tape.grad and module.training and torch.is_grad_enabled():
            for x in tensors(args)[:1]:
                marks = fingerprints(x)
                if x.ndim == 2 and not x.is_floating_point():
                    self.signals.facts["tokens"] = True
                self._known("train", marks)
                self.read += len(marks)
                self.trained.update(marks)

    def view(self, tape) -> None:
        roots = tape.roots()
        found = compared(tape, self.host.last_batch, self.signals.facts)
        if not roots or (tape.grad and len(roots) != 1):
            return
        if found is None or not isinstance(found.target, torch.Tensor):
            return
        if self.signals.facts.get("task") not in (None, "other", found.task):
            return
        wrong = found.wrong()
        marks = [m for x in tensors(roots[0].args)[:1] for m in fingerprints(x)]
        if wrong is None or not marks or not wrong.numel():
            return
        known = self._known("evaluation", marks)
        which = "train" if known > 0.02 else "validation"
        losses = sample_losses(found)
        row = (
            which,
            len(marks),
            float(wrong.sum()),
            losses,
            found.tally(),
        )
        self.rows.setdefault(self.host.step, []).append(row)
        if which == "validation":
            read_certainty(self.signals, "validation", [self.host.step], found.stacked())
            goals = (
                [found.input, found.target] if not found.kwargs.get("by_hand") else [found.input]
            )
            self.host.keep(tape, goals, {"kind": found.kind, "step": self.host.step, "options": found.options,
                "target": found.target.detach().clone()}, view=True)  # fmt: skip

    def _known(self, place: str, marks: list[float]) -> float:
        # Samples trained on come back in later epochs, and in an evaluation that they leaked into.
        known = sum(mark in self.trained for mark in marks) / max(len(marks), 1)
        if marks:
            self.signals.add(place, "known", self.host.step, known)
            self.signals.add(place, "known_of", self.host.step, len(marks))
        return known

    def end(self) -> None:
        self.signals.facts["new_samples"] = len(self.trained) / max(
            self.read, 1
        )  # share of those read
        self.signals.facts["few_samples"] = len(self.trained) < min(400, 0.7 * self.read)
        for step, rows in self.rows.items():
            for which in ("train", "validation"):
                kept = [row for row in rows if row[0] == which]
                n = sum(row[1] for row in kept)
                if n:
                    self.signals.add(which, "n", step, n)
                    self.signals.add(which, "error", step, sum(row[2] for row in kept) / n)
                    heads = [
                        math.nan if x is None else float(x[spread(len(x))].sum())
                        for *_, x, _ in kept
                    ]
                    few = sum(min(row[1], SAMPLES) for row in kept)
                    self.signals.add(which, "head", step, sum(heads) / few)
                    *_, losses, tallies = zip(*kept, strict=True)
                    note_answers(self.signals, which, "", step, tallies, losses)


def sample_losses(found: DataLoss) -> torch.Tensor | None:
    """The loss of each sample (N,), where the call can be repeated without reduction."""
    guess, target = found.input.float(), found.target
    f = nn.functional
    if found.kind == "cross_entropy" and guess.ndim == 2:
        return f.cross_entropy(guess, target, reduction="none", **found.options)
    if found.kind == "nll_loss" and guess.ndim == 2:
        return f.nll_loss(guess, target, reduction="none", **found.options)
    if found.kind == "binary_cross_entropy_with_logits" and guess.shape == target.shape:
        return f.binary_cross_entropy_with_logits(guess, target.float(), reduction="none").flatten()
    if found.kind == "binary_cross_entropy" and guess.shape == target.shape:
        return f.binary_cross_entropy(guess, target.float(), reduction="none").flatten()
    return found.wrong() if found.task == "regression" else None


@probes.member
class Timing(Probe):
    """How long each step waits for its batch."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.begin = time.perf_counter() - host.clock.spent
        self.order = ""

    def loader(self, iterator) -> None:
        sampler = type(getattr(iterator, "_index_sampler", None)).__name__
        inner = type(getattr(getattr(iterator, "_index_sampler", None), "sampler", None)).__name__
        self.order = inner or sampler

    def forward(self, module, tape, grad) -> None:
        if not grad:
            self.host.loads = -1000  # an evaluation lies inside this step: do not count it

    def backward(self, loss, tape) -> None:
        if self.order:
            self.signals.facts.setdefault("order", self.order)

    def tick(self, ticks) -> None:
        for row in ticks:
            took, self.begin = row.ended - self.begin, row.ended
            if row.loads > 0:
                self.signals.add("loader", "wait", row.number, row.waited)
                self.signals.add("loader", "share", row.number, row.waited / max(took, 1e-9))
