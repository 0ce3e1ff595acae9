"""What flows through the network: moments, dead and saturated units, by layer."""

from __future__ import annotations

import math
from typing import Any

import torch

from visus.doctor.names import ACTIVATION, NORM, WEIGHT, layer_of
from visus.doctor.probes import Probe, probes

CAP = 1 << 16  # elements of one tensor that are read; more samples are left out
RECTIFIERS = {"relu", "relu6", "threshold", "hardtanh"}


def some(tensor: torch.Tensor, least: int = 4) -> torch.Tensor:
    """The first samples of a large batch, as float32: enough for moments."""
    rows = tensor.shape[0] if tensor.ndim else 1
    keep = max(min(rows, least), int(rows * CAP / max(tensor.numel(), 1)))
    return (tensor[:keep] if keep < rows else tensor).detach().float()


def unit_axis(tensor: torch.Tensor) -> int:
    """The axis of the units: channels of (N, C, H, W), features of (N, F) and (N, T, F)."""
    return 1 if tensor.ndim >= 4 else tensor.ndim - 1


def others(tensor: torch.Tensor) -> list[int]:
    """All axes but the units'."""
    axis = unit_axis(tensor)
    return [i for i in range(tensor.ndim) if i != axis]


@probes.member
class Layers(Probe):
    """By weight layer: rms, spread over the batch, rms of its input. By activation: shares."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.chain: list[dict] = []
        self.known: dict[str, dict] = {}
        self.alive: dict[str, list[torch.Tensor]] = {}

    def forward(self, module, tape, grad) -> None:
        if tape is not None and not tape.entries:
            self.chain = []

    def op(self, name, args, kwargs, result) -> None:
        tape = self.host.tape
        if not tape.grad or not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return
        self._meet()
        if name in ("matmul", "mm", "addmm") and len(args) > 1:
            self._product(args, result)
        elif name == "einsum" and len(args) == 3:
            self._product(args[1:], result)
        elif name in WEIGHT:
            self._weight(name, args, kwargs, result)
        elif name in NORM and self.chain:
            self.chain[-1]["norm"] = name
        elif name in ACTIVATION and result.ndim >= 2:
            self._activation(rectifies(name, args, kwargs) or name, result)
        elif name in ("dropout", "dropout2d", "feature_dropout", "alpha_dropout"):
            rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            if isinstance(rate, float) and drops(args, kwargs):
                inside = "Dropout" in type(self.host.path[-1]).__name__
                self.signals.facts["bare_dropout"] = not inside and rate > 0
                self.signals.facts["dropout"] = max(self.signals.facts.get("dropout", 0.0), rate)

    def _meet(self) -> None:
        # A layer may be one that no network lists, a table of words in a plain dict say, or hold a
        # weight put in on the way: asked of every layer alike, whatever it does.
        for module in self.host.path[-1:]:
            for p in module.parameters(recurse=False):
                self.names.stray(p, module)

    def _product(self, args, result) -> None:
        # x @ W or x @ W.T, W a weight of the program's own: the layer that a linear one would be.
        x, weight = args[-2:]
        if isinstance(weight, torch.Tensor) and self.names.parameter(weight) is None:
            weight = weight._base  # of a transposed weight: the weight itself
        if not isinstance(weight, torch.Tensor) or self.names.parameter(weight) is None:
            return
        if weight.ndim == 2 and weight.numel() > 0 and result.ndim > 1:
            self._weight("linear", (x, weight), {}, result)

    def _weight(self, name, args, kwargs, result) -> None:
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        found = self.names.parameter(weight)
        place = layer_of(found) if found else self.names.module(self.host.path[-1])
        s, step = self.signals, self.host.step
        layer = self.known.get(place)
        if layer is None:
            layer = {"place": place, "kind": name, "units": result.shape[unit_axis(result)],
                     "fan_in": args[0].shape[-1] if name == "linear" else weight.numel() // max(weight.shape[0], 1), "norm": "", "act": "",
                     "first": not s.layers and not args[0].requires_grad}  # fmt: skip
            self.known[place] = layer
            s.layers.append(layer)
        self.chain.append(layer)
        given, made = some(args[0]), some(result)
        s.add(place, "input_rms", step, _rms(given))
        s.add(place, "rms", step, _rms(made))
        if made.shape[0] > 1:
            centered = made - made.mean(0, keepdim=True)
            s.add(place, "spread", step, _rms(centered))
        if layer["first"]:
            self._input(given, step)

    def _input(self, x: torch.Tensor, step: int) -> None:
        s = self.signals
        s.add("input", "rms", step, _rms(x))
        s.add("input", "mean", step, float(x.mean()))
        s.add("input", "min", step, float(x.min()))
        s.add("input", "max", step, float(x.max()))
        s.add("input", "nonfinite", step, 1 - float(torch.isfinite(x).float().mean()))
        axes = others(x)
        unit = x.square().mean(axes).sqrt() if axes else x.abs()
        top = float(unit.max())
        active = unit[unit > 0]
        s.add("input", "unit_max", step, top)
        s.add("input", "unit_median", step, float(active.median()) if active.numel() else 0.0)
        if x.shape[0] > 1:
            s.add("input", "std", step, float((x - x.mean(0, keepdim=True)).square().mean().sqrt()))

    def _activation(self, name: str, result: torch.Tensor) -> None:
        if not self.chain:
            return
        layer, s, step = self.chain[-1], self.signals, self.host.step
        if name != "clamp":
            layer["act"] = name
        place, y = layer["place"], some(result)
        self._shape(place, y, step)
        if name in RECTIFIERS:
            self._dead(place, some(result, 16), step)  # four looks make 64 samples
        if name in ("sigmoid", "tanh", "hardtanh", "hardsigmoid"):
            low = -1.0 if "tanh" in name else 0.0
            unit = (y - low) / (1 - low)
            flat = ((unit < 0.01) | (unit > 0.99)).float()
            s.add(place, "saturated", step, float(flat.mean()))
            s.add(place, "off_center", step, float(y.mean().abs() / y.std().clamp_min(1e-6)))

    def _shape(self, place: str, y: torch.Tensor, step: int) -> None:
        # For pictures only: what the layer passes on.
        if self.host.record is not None:
            self.signals.add(place, "act_mean", step, float(y.mean()))
            self.signals.add(place, "act_std", step, float(y.std()) if y.numel() > 1 else 0.0)
            histogram(self.host.record, step, place, "activation", y)

    def _dead(self, place: str, y: torch.Tensor, step: int) -> None:
        s = self.signals
        s.add(place, "zero", step, _zero(y))
        seen = self.alive.setdefault(place, [])
        axes = others(y)
        live = (y.amax(axes) if axes else y) > 0
        if seen and seen[-1].shape != live.shape:
            seen.clear()  # another layer has taken this name
        seen.append(live)
        del seen[:-4]
        dead = 1 - float(torch.stack(seen).any(0).float().mean())
        s.add(place, "dead", step, dead)
        s.add(place, "dead_samples", step, float(y.shape[0] * len(seen)))


def histogram(record: Any, step: int, place: str, quantity: str, x: torch.Tensor) -> None:
    """Write one histogram line: 40 bins over the middle 99 % of at most 2^14 values."""
    flat = x.detach().float().flatten()
    flat = flat[:: max(flat.numel() >> 14, 1)]
    flat = flat[torch.isfinite(flat)]
    if flat.numel() < 2:
        return
    ranked = flat.sort().values
    cut = flat.numel() // 200
    low, high = float(ranked[cut]), float(ranked[-1 - cut])
    high = high if high > low else low + max(abs(low) * 1e-3, 1e-6)
    counts = torch.histc(flat, 40, low, high)
    edges = torch.linspace(low, high, 41)
    record("histogram", step=step, place=place, quantity=quantity, edges=edges.tolist(),
           counts=[int(n) for n in counts.tolist()], low=int((flat < low).sum()),
           high=int((flat > high).sum()))  # fmt: skip


def rectifies(name: str, args: Any, kwargs: Any) -> str:
    """ "relu" for a clamp at 0 from below and at nothing from above; else ""."""
    if name != "clamp":
        return ""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return "relu" if high is None and isinstance(low, int | float) and low == 0 else ""


def drops(args: Any, kwargs: Any) -> bool:
    """Is this call of dropout(x, p, training) in training mode?"""
    return bool(kwargs.get("training", args[2] if len(args) > 2 else True))


def _rms(x: torch.Tensor) -> float:
    value = float(torch.linalg.vector_norm(x)) / math.sqrt(x.numel()) if x.numel() else 0.0
    return value if math.isfinite(value) else math.inf


def _zero(x: torch.Tensor) -> float:
    """The share of zeros. Ten times as fast as to count them: |sign x|^2 is how many are not."""
    live = float(torch.linalg.vector_norm(x.sign())) ** 2
    return 1 - live / max(x.numel(), 1) if live == live else float((x == 0).float().mean())


@probes.member
class Norms(Probe):
    """Batch normalization: samples it averages over, running against batch statistics."""

    def op(self, name, args, kwargs, result) -> None:
        if name != "batch_norm" or not self.host.tape.grad:
            return
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        place = self.names.module(self.host.path[-1])
        s, step, x = self.signals, self.host.step, some(given["input"])
        s.facts.setdefault("norms", {})[place] = {"momentum": given.get("momentum", 0.1)}
        s.add(place, "norm_batch", step, given["input"].shape[0])
        s.add(place, "norm_training", step, float(bool(given.get("training"))))
        mean, var = given.get("running_mean"), given.get("running_var")
        if mean is None or var is None or x.shape[0] < 2:
            return
        axes = [i for i in range(x.ndim) if i != 1]
        batch_var, batch_mean = torch.var_mean(x, axes)
        scale = batch_var.clamp_min(1e-8).sqrt()
        s.add(place, "norm_shift", step, float(((mean - batch_mean).abs() / scale).median()))
        ratio = (var.clamp_min(1e-8) / batch_var.clamp_min(1e-8)).log().abs()
        s.add(place, "norm_ratio", step, float(ratio.median()))
