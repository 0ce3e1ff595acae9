"""The layer table: output shape, parameters, operations and receptive field of every layer."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Field = tuple[float, float]  # receptive field and jump, in input pixels along the longer side


def summary(model: nn.Module, channels: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    """One row a leaf layer, in the order of the forward pass over a `(1, channels, *size)` image.

    Row: name, type, output (shape without the batch), parameters, flops (2 a multiply-add) and
    receptive_field in pixels (Araujo et al. 2019: r += (K - 1) * dilation * jump, jump *= stride;
    the widest branch counts). The model's mode, gradients and statistics stay as they were.
    """
    rows: list[dict[str, Any]] = []
    names = {module: name for name, module in model.named_modules()}
    leaves = [m for m in names if not next(m.children(), None)]
    handles = [m.register_forward_hook(_hook(rows, names[m], max(size))) for m in leaves]
    mode = {m: m.training for m in names}
    try:
        model.eval()
        _forward(model, torch.zeros(1, channels, *size))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in mode.items():
            module.training = training
    return rows


def total_flops(rows: list[dict[str, Any]]) -> int:
    """Operations of one image through all layers of `summary`."""
    return sum(row["flops"] for row in rows)


def _forward(model: nn.Module, image: Tensor) -> None:
    first = next((p for p in model.parameters()), None)
    if first is not None:
        image = image.to(first.device, first.dtype)
    _tag(image, (1.0, 1.0))
    with torch.no_grad(), _Widest():
        model(image)


def _tag(tensor: Any, field: Field) -> None:
    if isinstance(tensor, Tensor):
        tensor._visus_field = field  # type: ignore[attr-defined]


def _field(values: Any) -> Field:
    found = [getattr(v, "_visus_field", None) for v in _tensors(values)]
    return max((f for f in found if f), default=(1.0, 1.0))


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, (list, tuple)):
        return [t for value in values for t in _tensors(value)]
    return []


class _Widest(TorchFunctionMode):
    # Additions, concatenations and reshapes between layers carry the widest field of their inputs.
    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not hasattr(out, "_visus_field"):
            _tag(out, _field(args))
        return out


def _hook(rows: list[dict[str, Any]], name: str, longest: int):
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        field = _grow(module, _field(inputs), inputs, output)
        for tensor in _tensors(output):
            _tag(tensor, field)
        if not isinstance(module, (nn.Identity, nn.Flatten, nn.Unflatten)):
            rows.append(_row(name, module, output, min(field[0], longest)))

    return hook


def _grow(module: nn.Module, field: Field, inputs: Any, output: Any) -> Field:
    width, jump = field
    if isinstance(module, nn.Linear) or "Adaptive" in type(module).__name__:
        return float("inf"), jump
    kernel = _one(getattr(module, "kernel_size", 1))
    reach = (kernel - 1) * _one(getattr(module, "dilation", 1))
    return width + reach * jump, jump * _one(getattr(module, "stride", None) or 1)


def _one(value: Any) -> int:
    return max(value) if isinstance(value, (tuple, list)) else int(value)


def _row(name: str, module: nn.Module, output: Any, field: float) -> dict[str, Any]:
    shape = list(_tensors(output)[0].shape[1:])
    return {
        "name": name,
        "type": type(module).__name__,
        "output": shape,
        "parameters": sum(p.numel() for p in module.parameters()),
        "flops": _flops(module, shape),
        "receptive_field": int(field),
    }


def _flops(module: nn.Module, shape: list[int]) -> int:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        return prod(shape) if shape else 0
    return 2 * weight[0].numel() * prod(shape)  # each output is one dot product with a filter
