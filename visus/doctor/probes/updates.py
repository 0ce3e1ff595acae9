"""Weights, gradients and updates: which parameters learn, and how far one step goes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from visus.doctor.bare import Bare
from visus.doctor.names import layer_of
from visus.doctor.probes import Probe, probes
from visus.doctor.probes.layers import histogram


def fresh(p: torch.Tensor) -> bool:
    """Are these weights (units, ...) as torch draws them: uniform within 1 / sqrt(fan-in)?"""
    if p.ndim < 2 or p.numel() < 64:
        return False
    unit = p.detach().float().flatten(1)
    unit = unit * math.sqrt(unit.shape[1])
    rms = float(unit.square().mean().sqrt())
    return 0.9 < float(unit.abs().max()) <= 1.0001 and abs(rms - 3**-0.5) < 0.06


def units_differ(p: torch.Tensor) -> float:
    """The largest difference between the weights of two units over the root mean square of all.

    Written by hand (`x @ W`) the units are the columns: of a matrix the smaller of the two counts.
    """
    flat = p.detach().float().flatten(1)
    off = float((flat - flat[0]).abs().max())
    if p.ndim == 2 and flat.shape[1] > 1:
        off = min(off, float((flat - flat[:, :1]).abs().max()))
    return off / (float(flat.square().mean().sqrt()) or 1.0)


def _norm(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach().float()))


def _place_of(name: str) -> str:
    """The layer of a weight; for a recurrent layer, which has several, layer and weight."""
    return name if "weight_ih" in name or "weight_hh" in name else layer_of(name)


@probes.member
class Updates(Probe):
    """By parameter: gradient and update against weight; by optimizer: rate, stale gradients."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.witness: dict[int, torch.Tensor] = {}
        self.clean: dict[int, bool] = {}
        self.contributed: dict[int, int] = {}
        self.held: dict[int, torch.Tensor] | None = None
        self.start: dict[int, torch.Tensor] = {}
        self.unread: dict[int, str] = {}  # first weights not read yet
        self.used: dict[int, str] = {}  # by which call: it shows which way round they are
        self.settled = False  # has a backward followed? Until then first weights may be drawn anew
        self.granted: set[int] = set()  # parameters that had a gradient at some step
        self.asked: set[int] = set()
        self.moved: set[int] = set()
        self.tried: set[int] = set()
        self.paid: set[int] = set()  # parameters whose group had a rate above zero
        self.places: dict[int, str] = {}  # what each optimizer is called
        self.before: set[int] = set()  # parameters that an earlier stage has taught
        self.frozen: set[int] = set()  # parameters that were no part of the training for a while

    # -- the first state of every network, to compare with later; layers may be replaced on the way
    def forward(self, module, tape, grad) -> None:
        if self.host.step > 0 and (tape is None or not grad or not tape.full):
            return
        for name, p in self._note_new():
            if p.ndim >= 2:
                self.unread[id(p)] = self.names.parameter(p) or name

    def op(self, name, args, kwargs, result) -> None:
        # Which way round a weight is held shows where it is used: x @ W has units as columns.
        weight = args[-1] if args and name in ("matmul", "mm", "addmm", "linear") else None
        if weight is not None and id(weight) in self.unread and weight.ndim == 2:
            self.used.setdefault(id(weight), name)

    def _read(self) -> None:
        for key, name in self.unread.items():
            use = self.used.get(key)
            # Plain tensors outside any module may be anything: only what is used as a weight counts.
            if use or not isinstance(self.names.roots[0], Bare):
                self._shape(
                    name, self.start[key].T if use not in (None, "linear") else self.start[key]
                )
        self.unread = {}

    def _renew(self) -> None:
        """The first weights are those of the first backward: a network that was tried once may have
        been initialized after that. What was measured of it then was another network."""
        drawn = [(key, p) for p in (p for _, p in self._known()) if (key := id(p)) in self.start
                 and self.start[key].shape == p.shape and not torch.equal(self.start[key], p)]  # fmt: skip
        self.start |= {key: p.detach().clone() for key, p in drawn}
        if drawn:
            self.signals.newest([layer["place"] for layer in self.signals.layers] + ["input"])

    def inherit(self, earlier: Any) -> None:
        """Go on from the probe of the stage before: what it saw taught is not new any more."""
        self.before = earlier.before | earlier.moved
        for _, p in self._known():
            start = earlier.start.get(id(p))
            if start is not None and (start.shape != p.shape or not torch.equal(start, p)):
                self.before.add(id(p))
        self._note_new()

    def rename(self, old: int, new: int) -> None:
        if old in self.places:
            self.places[new] = self.places[old]
        self._note_new()  # layers may have been replaced in the meantime

    def _note_new(self) -> list[tuple[str, torch.Tensor]]:
        """Keep the present state of the parameters not known yet: which these are."""
        new = [(name, p) for name, p in self._known() if id(p) not in self.start
               and not torch.nn.parameter.is_lazy(p) and p.numel() <= 1 << 22]  # fmt: skip
        self.start |= {id(p): p.detach().clone() for _, p in new}
        return new

    def _known(self) -> Iterator[tuple[str, torch.Tensor]]:
        for root in self.names.roots:
            yield from root.named_parameters()
        for p in self.names.strays.values():
            yield self.names.parameter(p) or "", p

    def _shape(self, name: str, p: torch.Tensor) -> None:
        place, step, flat = _place_of(name), self.host.step, p.detach().float().flatten(1)
        rms = float(flat.square().mean().sqrt())
        self.signals.add(place, "scale", step, rms * math.sqrt(flat.shape[1]))
        if flat.shape[0] > 1:
            self.signals.add(place, "rows_differ", step, units_differ(p))

    # -- gradients left over from the last step
    def backward(self, loss, tape) -> None:
        if self.names.strays:  # found in this pass
            self.forward(None, tape, True)
        if not self.settled and self.host.step == self.host.since:
            self._renew()
        self.settled = True
        if self.unread and tape is not None:
            self._read()
        for key, p in self.witness.items():
            if not self.clean.get(key):
                self.clean[key] = p.grad is None or not bool(p.grad.any())

    def before_step(self, optimizer) -> None:
        key, s, step = id(optimizer), self.signals, self.host.counts.get(id(optimizer), 0)
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if key in self.witness:
            s.add(self._place(optimizer), "stale", step, float(not self.clean.get(key, True)))
        look = step == self.host.since or self.host.looking
        if look:
            self.frozen.update(id(p) for _, p in self._known() if not p.requires_grad)
            for group in optimizer.param_groups:
                self.paid.update(id(p) for p in group["params"] if float(group["lr"]) > 0)
            self._gradients(params, step, self._place(optimizer))
            fit = sum(p.numel() for p in params) <= 1 << 24
            self.held = {id(p): p.detach().clone() for p in params} if fit else None
        self._choose(key, params)

    def tick(self, ticks) -> None:
        for row in ticks:
            self.signals.add(self._place(row.optimizer), "rate", row.number, row.rate)

    def _place(self, optimizer) -> str:
        place = self.places.get(id(optimizer))
        if place is None:
            number = len(self.places) + 1
            place = self.places[id(optimizer)] = (
                f"optimizer {number}" if number > 1 else "optimizer"
            )
            self._describe(optimizer)
        return place

    def _choose(self, key: int, params: list) -> None:
        # The smallest parameter with a gradient shows whether gradients are zeroed.
        if self.host.looking or key not in self.witness:
            live = [p for p in params if p.grad is not None and bool(p.grad.any())]
            if live:
                self.witness[key] = min(live, key=lambda p: p.numel())
        self.clean[key] = False

    def _describe(self, optimizer) -> None:
        facts = self.signals.facts
        groups = optimizer.param_groups
        facts.setdefault("optimizers", []).append({
            "name": type(optimizer).__name__,
            "rate": max(float(g["lr"]) for g in groups),
            "momentum": max(float(g.get("momentum", 0) or 0) for g in groups),
            "decay": max(float(g.get("weight_decay", 0) or 0) for g in groups),
        })  # fmt: skip

    def _gradients(self, params: list, step: int, own: str) -> None:
        s, total, decay = self.signals, 0.0, 0.0
        for p in params:
            self.asked.add(id(p))
            if p.grad is None:
                continue
            self.granted.add(id(p))
            grad = _norm(p.grad)
            total += grad**2
            name = self.names.parameter(p)
            if name is None or p.ndim < 2:
                continue
            place = _place_of(name)
            s.add(place, "gradient", step, grad / math.sqrt(p.numel()))
            if self.host.record is not None:
                histogram(self.host.record, step, place, "gradient", p.grad)
            weight = _norm(p)
            decay += weight**2
            s.add(place, "weight_norm", step, weight)
            if weight > 0:
                s.add(place, "gradient_ratio", step, grad / weight)
            if p.grad.ndim >= 2 and p.shape[0] > 1:
                s.add(place, "rows_differ", step, units_differ(p))
        s.add(own, "gradient", step, math.sqrt(total))
        s.add(own, "weights", step, math.sqrt(decay))

    def after_step(self, optimizer) -> None:
        held, self.held = self.held, None
        if held is None:
            return
        step, s = self.host.counts.get(id(optimizer), 0), self.signals
        up = down = 0.0
        for group in optimizer.param_groups:
            for p in group["params"]:
                old = held.get(id(p))
                if old is None or p.grad is None:
                    continue
                self.tried.add(id(p))
                change, size = _norm(p.detach() - old), _norm(old)
                if change > 0:
                    self.moved.add(id(p))
                up, down = up + change**2, down + size**2
                name = self.names.parameter(p)
                if name and p.ndim >= 2 and size > 0:
                    s.add(_place_of(name), "update", step, change / size)
        if down > 0:
            s.add(self._place(optimizer), "update", step, math.sqrt(up / down))

    def end(self) -> None:
        s, facts = self.signals, self.signals.facts
        self._read()
        in_optimizer = {
            id(p)
            for o in self.host.optimizers.values()
            for g in o.param_groups
            for p in g["params"]
        }
        rows, total, far, size = [], 0, 0.0, 0.0
        for name, p in self._known():
            start = self.start.get(id(p))
            moved = start is not None and start.shape == p.shape and not torch.equal(start, p)
            moved = moved or id(p) in self.before
            if start is not None and start.shape == p.shape:
                far, size = far + _norm(p.detach() - start) ** 2, size + _norm(start) ** 2
            total += p.numel()
            rows.append({
                "name": self.names.parameter(p) or name, "trainable": p.requires_grad,
                "optimizer": id(p) in in_optimizer, "gradient": p.grad is not None,
                "granted": id(p) in self.granted, "asked": id(p) in self.asked,
                "moved": moved, "tracked": start is not None, "size": p.numel(),
                "tried": id(p) in self.tried, "shifted": id(p) in self.moved,
                "paid": id(p) in self.paid, "stray": id(p) in self.names.strays,
                "fresh": not moved and fresh(p), "thawed": p.requires_grad and id(p) in self.frozen,
            })  # fmt: skip
        facts["parameters"], facts["size"] = rows, total
        foreign = sum(1 for key in in_optimizer if key not in {
            id(p) for root in self.names.roots for p in root.parameters()})  # fmt: skip
        facts["foreign"] = foreign
        if size > 0:
            s.add("optimizer", "travel", s.steps, math.sqrt(far / size))
