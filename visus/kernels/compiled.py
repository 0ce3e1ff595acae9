"""What `torch.compile` sees of a normalization: one opaque operation, and one for its gradient."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from visus.kernels.normalize import ALGEBRAS, Algebra


@lru_cache(maxsize=4096)
def _algebra(name: str, spec: str) -> Algebra:
    return ALGEBRAS[name](*ast.literal_eval(spec))


# PyTorch's registration of gradients takes no list with None in it: up to MOST tensors, one by one.
MOST = 6


@torch.library.custom_op("visus::normalize", mutates_args=())
def normalize(
    x: Tensor, name: str, spec: str, act: str, alpha: float, a: Tensor | None, b: Tensor | None,
    c: Tensor | None, d: Tensor | None, e: Tensor | None, f: Tensor | None,
) -> list[Tensor]:  # fmt: skip
    """[y, *observed, *saved] of an algebra named by its class and the text of its spec."""
    algebra = _algebra(name, spec)
    y, observed, saved = algebra.forward(x, [a, b, c, d, e, f][: algebra.takes], act, alpha)
    return [y, *observed, *saved]


@normalize.register_fake
def _(x, name, spec, act, alpha, *tensors):  # type: ignore[no-untyped-def]
    algebra = _algebra(name, spec)
    return algebra.outputs_like(x, list(tensors[: algebra.takes]))


def call(x: Tensor, algebra: Algebra, tensors: list, act: str, alpha: float) -> list[Tensor]:
    """The operation, by its algebra."""
    full = [*tensors, *[None] * (MOST - len(tensors))]
    return torch.ops.visus.normalize(x, type(algebra).__name__, algebra.text, act, alpha, *full)


@torch.library.custom_op("visus::normalize_backward", mutates_args=())
def normalize_backward(
    g: Tensor, x: Tensor, tensors: Sequence[Tensor | None], saved: Sequence[Tensor], name: str,
    spec: str, act: str, alpha: float,
) -> list[Tensor]:  # fmt: skip
    """dx and the gradients of the tensors; an empty tensor stands for none."""
    dx, grads = _algebra(name, spec).backward(g, x, list(tensors), list(saved), act, alpha)
    made = (
        _none(x) if d is None or t is None else d.to(t.dtype)
        for d, t in zip(grads, tensors, strict=True)
    )
    return [dx, *made]  # fmt: skip


@normalize_backward.register_fake
def _(g, x, tensors, saved, name, spec, act, alpha):  # type: ignore[no-untyped-def]
    learned = _algebra(name, spec).learns
    made = (
        _none(x) if t is None or i >= learned else torch.empty_like(t)
        for i, t in enumerate(tensors)
    )
    return [torch.empty_like(x), *made]  # fmt: skip


def _none(x: Tensor) -> Tensor:
    return x.new_empty(0)


def _setup(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    x, *ctx.spec = inputs[:5]
    algebra = _algebra(*ctx.spec[:2])
    ctx.save_for_backward(x, *inputs[5 : 5 + algebra.takes], *output[1 + algebra.observes :])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grads: list[Tensor | None]) -> Any:
    algebra = _algebra(*ctx.spec[:2])
    x, *rest = ctx.saved_tensors
    tensors, saved = rest[: algebra.takes], rest[algebra.takes :]
    if grads[0] is None:
        return (None,) * (5 + MOST)
    dx, *found = torch.ops.visus.normalize_backward(grads[0], x, tensors, saved, *ctx.spec)
    kept = [
        d if t is not None and i < algebra.learns else None
        for i, (t, d) in enumerate(zip(tensors, found, strict=True))
    ]
    return dx, None, None, None, None, *kept, *[None] * (MOST - algebra.takes)


normalize.register_autograd(_backward, setup_context=_setup)
