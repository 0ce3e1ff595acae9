"""The four passes in plain PyTorch: for any device and dtype, and differentiable any number of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

ABOUT = "plain PyTorch, any device"

# name -> (the activation, its derivative), of z and alpha.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "none": (lambda z, a: z, lambda z, a: torch.ones_like(z)),
    "relu": (lambda z, a: F.relu(z), lambda z, a: (z > 0).to(z.dtype)),
    "leaky-relu": (lambda z, a: F.leaky_relu(z, a), lambda z, a: torch.where(z > 0, torch.ones_like(z), torch.full_like(z, a))),
    "elu": (lambda z, a: F.elu(z, a), lambda z, a: torch.where(z > 0, 1.0, a * z.clamp(max=0).exp())),
    "sigmoid": (lambda z, a: z.sigmoid(), lambda z, a: z.sigmoid() * (-z).sigmoid()),
    "tanh": (lambda z, a: z.tanh(), lambda z, a: 1 - z.tanh() ** 2),
}  # fmt: skip


def wide(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`(N, C)`, `(1, C)` or `(C,)` numbers against the planes of `x`."""
    return t.reshape(-1, x.shape[1], *[1] * (x.dim() - 2))


def computing(x: torch.Tensor) -> torch.dtype:
    """The dtype that the numbers of `x` are computed in."""
    return torch.promote_types(x.dtype, torch.float32)


def _planes(x: torch.Tensor) -> torch.Tensor:
    return x.to(computing(x)).reshape(*x.shape[:2], -1)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (as mean + rest) and biased variance of each plane, each `(N, C)`."""
    v = _planes(x)
    mean = v.mean(2)
    d = v - mean[..., None]
    rest = d.mean(2)
    return mean, rest, (d - rest[..., None]).square().mean(2)


def _centered(x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    return x.to(computing(x)) - wide(mean, x) - wide(rest, x)


def apply(
    x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor, scale: torch.Tensor,
    shift: torch.Tensor, act: str | None = None, alpha: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """act((x - mean - rest) scale + shift)."""
    z = torch.addcmul(wide(shift, x), _centered(x, mean, rest), wide(scale, x))
    return ACTIVATIONS[act or "none"][0](z, alpha).to(x.dtype)


def _h(g, d, scale, shift, act, alpha):  # type: ignore[no-untyped-def]
    g = g.to(d.dtype)
    if act in (None, "none"):
        return g
    z = torch.addcmul(wide(shift, d), d, wide(scale, d))
    return g * ACTIVATIONS[act][1](z, alpha)


def sums(
    g: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor,
    scale: torch.Tensor, shift: torch.Tensor, act: str | None = None, alpha: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Plane sums `(N, C)` of h and of h (x - mean - rest)."""
    d = _centered(x, mean, rest)
    h = _h(g, d, scale, shift, act, alpha)
    return _planes(h).sum(2), _planes(h * d).sum(2)


def write(
    g: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor,
    scale: torch.Tensor, shift: torch.Tensor, p: torch.Tensor, q: torch.Tensor,
    r: torch.Tensor, act: str | None = None, alpha: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """dx = p h + q (x - mean - rest) + r."""
    d = _centered(x, mean, rest)
    h = _h(g, d, scale, shift, act, alpha)
    dx = torch.addcmul(torch.addcmul(wide(r, x), wide(p, x), h), wide(q, x), d)
    return torch.empty_like(x).copy_(dx)
