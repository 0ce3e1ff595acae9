"""A whole normalization in one C++ call: how algebras are handed over, see cpp/norms.cpp."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from visus.kernels.cpp_backend import ACTS, DTYPES, FORM, PAST, alike, function, layout
from visus.kernels.normalize import Running, Tensors, plane_size
from visus.kernels.torch_backend import computing

Spec = tuple[float, float | None, int]  # eps, constant gate or None, groups or 0


class Plan:
    """What is the same in all calls for one shape, layout, dtype and algebra: the small layers
    of a network live on it, where a call must cost less than the work."""

    __slots__ = ("dense", "head", "kind", "last", "own", "past", "saved", "shared", "tail")

    def __init__(self, x: Tensor, spec: Spec, act: str, alpha: float):
        eps, gate, groups = spec
        given, self.last = layout(x)
        self.dense, self.kind = given is x, computing(x)
        n, c = x.shape[:2]
        own = n * groups if groups else n * c if gate != 1 else 0
        shared = 0 if groups or gate == 0 else c
        self.own, self.shared, self.saved = 8 * own, 8 * shared, 2 * (own + shared)
        size = n, c, plane_size(x)
        self.head = (DTYPES[x.dtype], self.last, *size, ACTS[act], groups)
        self.past = x.nbytes >= PAST
        self.tail = eps, alpha, 0.0 if gate is None else gate

    def call(self, x: Tensor, y: Tensor, saved: Tensor, places: tuple, running: tuple, g: int = 0, grads: tuple = (0, 0, 0)) -> None:  # fmt: skip
        """Forward, or with `g` backward, where y is dx; all but tensors as addresses."""
        at = saved.data_ptr()
        shared = at + 2 * self.own
        _kernel()(FORM.pack(
            *self.head, torch.get_num_threads(), self.past, x.data_ptr(), g, y.data_ptr(), *places,
            *running[:2], *grads, at, at + self.own, shared, shared + self.shared, *self.tail, running[2],
        ))  # fmt: skip


_PLANS: dict[Any, Plan] = {}


def _plan(x: Tensor, spec: Spec, act: str, alpha: float) -> Plan:
    key = x.shape, x.stride(), x.dtype, spec, act, alpha
    found = _PLANS.get(key)
    if found is None:
        if len(_PLANS) > 4096:  # sizes that never end
            _PLANS.clear()
        found = _PLANS[key] = Plan(x, spec, act, alpha)
    return found


@cache
def _kernel() -> Any:
    return function("visus_norm")


def _as(kind: torch.dtype, tensors: Tensors) -> Tensors:
    return [None if t is None else t.to(kind).contiguous() for t in tensors]


def _places(tensors: Tensors) -> tuple:
    found = [0 if t is None else t.data_ptr() for t in tensors]
    return (*found, 0, 0, 0) if len(found) == 2 else tuple(found)


def forward(
    x: Tensor, tensors: Tensors, spec: Spec, act: str, alpha: float, running: Running
) -> tuple[Tensor, Tensor]:
    """y and what backward needs; running moments of the whole batch are updated."""
    plan = _plan(x, spec, act, alpha)
    x = x if plan.dense else layout(x)[0]
    tensors = _as(plan.kind, tensors)
    y, saved = torch.empty_like(x), torch.empty(plan.saved, dtype=torch.float64)
    if running is None:
        plan.call(x, y, saved, _places(tensors), (0, 0, 0.0))
        return y, saved
    mean, var, factor = running
    plan.call(x, y, saved, _places(tensors), (mean.data_ptr(), var.data_ptr(), factor))
    torch.autograd.graph.increment_version(mean)
    torch.autograd.graph.increment_version(var)
    return y, saved


def backward(
    g: Tensor, x: Tensor, tensors: Tensors, saved: Tensor, spec: Spec, act: str, alpha: float
) -> tuple[Tensor, Tensors]:
    """dx and the gradients of weight, bias and gate."""
    plan = _plan(x, spec, act, alpha)
    x = x if plan.dense else layout(x)[0]
    g = alike(g, x, plan.last)
    tensors = _as(plan.kind, tensors)
    dx = torch.empty_like(x)
    grads = [None if t is None else torch.empty_like(t) for t in tensors[:3]]
    at = *(0 if t is None else t.data_ptr() for t in grads), 0
    plan.call(x, dx, saved, _places(tensors), (0, 0, 0.0), g.data_ptr(), at[:3])
    return dx, grads if len(tensors) == len(grads) else [*grads, *[None] * (len(tensors) - 3)]
