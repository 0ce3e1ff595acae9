"""The labels: range, balance, and whether batches mix them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import torch

from visus.doctor.names import LOSS
from visus.doctor.probes import Probe, probes
from visus.doctor.probes.certainty import read_certainty
from visus.doctor.probes.losses import data_loss, from_call
from visus.doctor.probes.stock import BINARY, CROSS, DataLoss, Stock, note
from visus.doctor.signals import Signals
from visus.doctor.tape import tensors


@probes.member
class Labels(Probe):
    """Class counts by batch, values outside the allowed range, share of non-finite targets."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.batches: list[dict[int, int]] = []
        self.means: list[tuple[float, float, int]] = []
        self.inner: DataLoss | None = None
        self.weights: list[float] = []  # of the classes in the loss
        self.stock = Stock()

    def forward(self, module, tape, grad) -> None:
        if tape is not None and not tape.entries:
            self.inner = None

    def op(self, name, args, kwargs, result) -> None:
        if name.endswith("loss") or "cross_entropy" in name:
            self.inner = from_call(name, args, kwargs, result)

    def backward(self, loss, tape) -> None:
        if tape is None or loss is None:
            return
        found = data_loss(tape, loss) or self.inner
        if found is not None and isinstance(found.target, torch.Tensor) and (
            isinstance(found.input, torch.Tensor)):  # fmt: skip
            self.signals.add("loss", "floor", self.host.step, floor(found))
            mark = (
                "dense" if dense(tape, found.target) else "once" if _once(tape, loss) else "mixed"
            )
            if self.stock.put(self.host.step, found, mark):
                self.settle()
        self.inner = None

    def settle(self) -> None:
        for steps, found, mark in self.stock.take():
            read_labels(self.signals, steps, found)
            if mark != "dense":
                self._count(steps, found)
            if mark == "once":
                read_certainty(self.signals, "labels", steps, found)

    def _count(self, steps: list[int], found: DataLoss) -> None:
        target, s, kwargs = found.target, self.signals, found.kwargs
        if kwargs.get("weight") is not None or kwargs.get("pos_weight") is not None:
            s.facts["weighted"] = True
            self.weights = _weights(found)
        ints = [classes_of(found.at(k)) for k in range(len(steps))]
        if ints[0] is not None:
            self.batches += [dict(Counter(one.tolist())) for one in ints if one is not None]
        elif target.is_floating_point() and target[0].numel() > 1:
            y = target.float().reshape(len(steps), -1)
            self.means += zip(
                y.mean(1).tolist(), y.var(1).tolist(), [y.shape[1]] * len(y), strict=True
            )
        if found.task == "regression" and target[0].numel() > 1:
            values = target.float().reshape(len(steps), -1)[:, :512]
            whole = (values == values.round()).all(1).float()
            note(s, "target", "whole", steps, whole)
            distinct = [float(v.unique().numel()) if w else v.numel()
                        for v, w in zip(values, whole.tolist(), strict=True)]  # fmt: skip
            note(s, "target", "distinct", steps, distinct)

    def crash(self, trace) -> None:
        """Read the arguments of the loss function in which the program stopped, if it was one."""
        facts = self.signals.facts
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            name, held = frame.f_code.co_name, frame.f_locals
            if name in (*CROSS, *BINARY) and isinstance(held.get("target"), torch.Tensor):
                options = {"ignore_index": held.get("ignore_index", -100)}
                found = from_call(name, (held["input"], held["target"]), options, None)
                facts["task"], facts["kind"] = found.task, name
                read_labels(self.signals, [self.host.step], found.stacked())
                if name == "binary_cross_entropy":
                    outside = ((found.input < 0) | (found.input > 1)).float().mean()
                    facts["not_probabilities"] = float(outside)

    def end(self) -> None:
        _balance(self.signals, self.batches)
        _weigh(self.signals, self.weights)
        _anova(self.signals, self.means)


def _once(tape: Any, loss: Any) -> bool:
    # Mixed samples (mixup) are compared with the labels of both their halves.
    return sum(entry.name in LOSS for entry in tape.before(loss)) <= 1


def dense(tape: Any, target: torch.Tensor) -> bool:
    """True for many labels a sample (pixels, letters of a text): those follow no balance."""
    given = next((x for entry in tape.roots() for x in tensors(entry.args)[:1]), None)
    if given is None or not given.ndim or target.is_floating_point() or target.ndim != 1:
        return False
    return len(target) >= 4 * max(given.shape[0], 1)


def floor(found: DataLoss) -> float:
    """The lowest value of this loss for these targets: above zero where targets are soft."""
    y = found.target.detach()
    try:
        if found.task == "binary" and y.is_floating_point():
            p = y.float().clamp(1e-7, 1 - 1e-7)
            return float(-(p * p.log() + (1 - p) * (1 - p).log()).mean())
        smooth = float(found.kwargs.get("label_smoothing") or 0.0)
        if found.kind == "cross_entropy" and y.is_floating_point() and y.ndim == 2:
            p = y.float() * (1 - smooth) + smooth / y.shape[1]
            return float(-(p * p.clamp_min(1e-12).log()).sum(1).mean())
        if found.kind == "cross_entropy" and smooth > 0 and found.input.ndim > 1:
            return smoothed(smooth, found.input.shape[1])
    except (TypeError, ValueError, RuntimeError):
        return 0.0
    return 0.0


def smoothed(smooth: float, classes: int) -> float:
    """The entropy of a label smoothed by s: its own of K classes with 1 - s + s / K, each other with s / K."""
    high, low = 1 - smooth + smooth / classes, smooth / classes
    return -high * math.log(high) - (classes - 1) * low * math.log(low)


def classes_of(found: DataLoss) -> torch.Tensor | None:
    """The labels as integers (N,), for classification and two-class losses; else None."""
    target = found.target
    if found.task == "classification":
        if target.ndim == 2 and target.is_floating_point():
            sure = target.max(1).values > 0.5
            return target.argmax(1) if bool(sure.all()) else None
        return target.flatten() if target.ndim == 1 else None
    if found.task == "binary" and (target.ndim == 1 or target.shape[-1] == 1):
        return (target.flatten() > 0.5).long()
    return None


def read_labels(s: Signals, steps: list[int], found: DataLoss) -> None:
    """Are the targets (L, N, ...) such that this loss has a meaning? Also used after a crash."""
    target, guess = found.target, found.input
    flat = target.reshape(len(steps), -1)
    if target.is_floating_point() and flat.numel():
        note(s, "labels", "nonfinite", steps, (~torch.isfinite(flat)).float().mean(1))
    if not flat.numel():
        return
    outside: torch.Tensor | None = None
    if found.task == "binary" and found.kind.startswith("binary"):
        outside = (flat < 0) | (flat > 1)
    if found.task == "classification" and not target.is_floating_point():
        s.facts["classes"] = width = guess.shape[2] if guess.ndim > 2 else guess.shape[1]
        ignored = flat == found.kwargs.get("ignore_index", -100)
        outside = ((flat < 0) | (flat >= width)) & ~ignored
        note(s, "labels", "ignored", steps, ignored.float().mean(1))
    if outside is not None:
        note(s, "labels", "outside", steps, outside.float().mean(1))
    if outside is not None or found.kind.endswith(
        ("margin_loss", "embedding_loss", "ranking_loss")
    ):
        note(s, "labels", "min", steps, flat.amin(1))
        note(s, "labels", "max", steps, flat.amax(1))


def _balance(s: Signals, batches: list[dict[int, int]]) -> None:
    total: dict[int, int] = {}
    for counts in batches:
        for label, n in counts.items():
            total[label] = total.get(label, 0) + n
    n = sum(total.values())
    if not n:
        return
    s.facts["label_counts"] = dict(sorted(total.items()))
    s.facts["label_batches"] = len(batches)
    shares = [count / n for count in total.values()]
    s.facts["prior_entropy"] = -sum(p * math.log(p) for p in shares if p > 0)
    s.facts["majority"] = max(shares)
    rows = [counts for counts in batches if sum(counts.values()) >= 4]
    if len(rows) < 3 or len(total) < 2:
        return
    # How much more do batches differ than random ones would? (chi-square by degree of freedom)
    chi = sum(
        (counts.get(label, 0) - sum(counts.values()) * total[label] / n) ** 2
        / (sum(counts.values()) * total[label] / n)
        for counts in rows
        for label in total
    )
    s.facts["batch_mixing"] = chi / ((len(rows) - 1) * (len(total) - 1))
    tops = [max(counts.values()) / sum(counts.values()) for counts in rows]
    s.facts["batch_top_share"] = sum(tops) / len(tops)


def _weights(found: DataLoss) -> list[float]:
    """What a sample of each class counts in this loss; empty where that is not one number a class."""
    given = found.kwargs.get("pos_weight" if found.task == "binary" else "weight")
    if not isinstance(given, torch.Tensor) or found.kwargs.get("reduction", "mean") != "mean":
        return []
    if found.task == "binary":
        return [1.0, float(given)] if given.numel() == 1 else []
    return given.detach().flatten().tolist()


def _weigh(s: Signals, weights: list[float]) -> None:
    """The loss of the best constant answer where classes weigh differently: `prior_entropy`.

    Answers follow the weighted shares q. Cross entropy divides by the sum of the weights, the
    logistic loss does not: there entropy(q) times the mean weight.
    """
    counts = s.facts.get("label_counts", {})
    if not weights or not counts or max(counts) >= len(weights) or min(counts) < 0:
        return
    heavy = [n * weights[label] for label, n in counts.items()]
    total, n = sum(heavy), sum(counts.values())
    if total <= 0:
        return
    entropy = -sum(h / total * math.log(h / total) for h in heavy if h > 0)
    s.facts["prior_entropy"] = entropy * (total / n if s.facts.get("task") == "binary" else 1.0)


def _anova(s: Signals, means: list[tuple[float, float, int]]) -> None:
    if len(means) < 6:
        return
    center = sum(m for m, _, _ in means) / len(means)
    between = sum((m - center) ** 2 for m, _, _ in means) / (len(means) - 1)
    within = sum(v / n for _, v, n in means) / len(means)
    if within > 0 or between > 0:
        s.facts["target_mixing"] = between / max(within, 1e-12)
        inside = sum(v for _, v, _ in means) / len(means)
        s.facts["target_between"] = between / max(between + inside, 1e-12)
