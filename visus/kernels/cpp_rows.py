"""Layer norms in one C++ call, see cpp/rows.cpp: rows of numbers, or the channels of pixels."""

from __future__ import annotations

import math
import struct
from functools import cache
from typing import Any

import torch
from torch import Tensor

from visus.kernels.cpp_backend import ACTS, DTYPES, PAST, address, function, layout
from visus.kernels.normalize import Tensors
from visus.kernels.torch_backend import computing

# The fields of `LayerArgs` in args.h.
FORM = struct.Struct("=17q2d")


def width(x: Tensor, axes: int) -> int:
    """How many numbers are normalized together: rows over `axes` last axes, or pixels (`axes` 0)."""
    return math.prod(x.shape[x.dim() - axes :]) if axes else x.shape[1]


def sets(x: Tensor, axes: int) -> int:
    """How many such sets there are."""
    return x.numel() // width(x, axes)


class Plan:
    """What is the same in all calls for one shape, layout and dtype: `x` as rows of numbers (over
    `axes` last ones), or as pixels of channels (`axes` 0).

    Channels-last input stays so where the rows are all but the first axis: then the kernel is told
    how many channels there are, as weight and bias are laid out otherwise than a sample.
    """

    __slots__ = ("channels", "dense", "head", "kind", "past", "plain", "saved", "stride", "tail")

    def __init__(self, x: Tensor, axes: int, eps: float, act: str, alpha: float):
        pixels = axes == 0
        self.plain = (
            not pixels and not axes == x.dim() - 1 > 1
        )  # rows as they are, always contiguous
        given, last = self._laid(x)
        self.dense, self.stride, self.kind = given is x, given.stride(), computing(x)
        self.channels = 0 if pixels or not last or given.is_contiguous() else x.shape[1]
        count = sets(x, axes)
        shape = 0, count, x.numel() // count, 1
        if pixels and not last:
            shape = 1, x.shape[0], x.shape[1], math.prod(x.shape[2:])
        self.head, self.tail = (DTYPES[x.dtype], *shape, ACTS[act]), (eps, alpha)
        self.past, self.saved = x.nbytes >= PAST, (3, count)

    def _laid(self, x: Tensor) -> tuple[Tensor, int]:
        return (x.contiguous(), 0) if self.plain else layout(x)

    def laid(self, x: Tensor) -> Tensor:
        """`x` densely stored."""
        return x if self.dense else self._laid(x)[0]

    def order(self, t: Tensor | None) -> Tensor | None:
        """A weight as the kernel takes it."""
        return None if t is None else t.to(self.kind).contiguous()

    def alike(self, g: Tensor, x: Tensor) -> Tensor:
        """`g` in the layout of `x`."""
        g = g if g.dtype is x.dtype else g.to(x.dtype)
        if g.stride() == self.stride:
            return g
        if x.is_contiguous():
            return g.contiguous()
        return g.movedim(1, -1).contiguous().movedim(-1, 1)

    def call(self, x: Tensor, g: int, y: Tensor, tensors: Tensors, grads: Tensors, saved: Tensor) -> None:  # fmt: skip
        """Forward, or with `g` backward, where y is dx."""
        _kernel()(FORM.pack(
            *self.head, torch.get_num_threads(), self.past, self.channels, x.data_ptr(), g, y.data_ptr(),
            *map(address, tensors), *map(address, grads), saved.data_ptr(), *self.tail,
        ))  # fmt: skip


_PLANS: dict[Any, Plan] = {}


def _plan(x: Tensor, *spec: Any) -> Plan:
    key = x.shape, x.stride(), x.dtype, spec
    found = _PLANS.get(key)
    if found is None:
        if len(_PLANS) > 4096:  # sizes that never end
            _PLANS.clear()
        found = _PLANS[key] = Plan(x, *spec)
    return found


@cache
def _kernel() -> Any:
    return function("visus_layer")


def forward(
    x: Tensor, tensors: Tensors, axes: int, eps: float, act: str, alpha: float
) -> tuple[Tensor, Tensor]:
    """y, and mean and 1 / sigma of each set."""
    plan = _plan(x, axes, eps, act, alpha)
    x = plan.laid(x)
    y, saved = torch.empty_like(x), torch.empty(plan.saved, dtype=plan.kind)
    plan.call(x, 0, y, [plan.order(t) for t in tensors], (None, None), saved)  # type: ignore[arg-type]
    return y, saved


def backward(
    g: Tensor, x: Tensor, tensors: Tensors, saved: Tensor, axes: int, eps: float, act: str, alpha: float
) -> tuple[Tensor, Tensors]:  # fmt: skip
    """dx and the gradients of weight and bias."""
    plan = _plan(x, axes, eps, act, alpha)
    x = plan.laid(x)
    g = plan.alike(g, x)
    dx = torch.empty_like(x)
    ordered = [plan.order(t) for t in tensors]
    grads = [None if t is None else torch.empty_like(t) for t in ordered]
    plan.call(x, g.data_ptr(), dx, ordered, grads, saved)  # type: ignore[arg-type]
    return dx, grads  # type: ignore[return-value]
