# Triton kernels are another language than Python: its types are not pyright's.
# pyright: reportReturnType=false, reportGeneralTypeIssues=false
"""Launches the Triton passes: how a tensor is seen as planes, and how it is cut in tiles.

Imported only where a tensor on a GPU asks for it: without triton the other backends serve.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from visus.kernels import torch_backend, triton_passes

passes: Any = triton_passes  # a jitted function takes its constexpr arguments as plain numbers

TILE = 2048  # elements of a program's tile: 16 for each thread of four warps
CROWD = 8  # programs wanted for each multiprocessor before a plane is split no further
ABOUT = f"triton {triton.__version__}: all passes; float32, float64, bfloat16, float16; any layout"
ACTS = {None: 0, "none": 0, "relu": 1, "leaky-relu": 2, "elu": 3, "sigmoid": 4, "tanh": 5}


def missing() -> str | None:
    """Why this backend cannot serve on this machine, or None."""
    if torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return "triton is installed, but there is no GPU here"


@dataclass(frozen=True)
class Planes:
    """`x (N, C, *spatial)` as planes of `S` positions with strides `(sn, sc, ss)`."""

    tensor: torch.Tensor
    sizes: tuple[int, int, int]
    strides: tuple[int, int, int]


def planes(x: torch.Tensor) -> Planes:
    """The view of `x`; copied only where its spatial axes have no common stride."""
    n, c, *spatial = x.shape
    step, expected = None, 1
    for size, stride in zip(reversed(spatial), reversed(x.stride()[2:]), strict=True):
        if size == 1:
            continue
        if step is None:
            step, expected = stride, stride
        if stride != expected:
            return planes(x.contiguous())
        expected *= size
    s = 1
    for size in spatial:
        s *= size
    return Planes(x, (n, c, s), (x.stride(0), x.stride(1), step or 1))


@dataclass(frozen=True)
class Cut:
    """The grid for planes of some size: tiles of BC channels x BS positions, and splits."""

    blocks: int
    splits: int
    tiles: int
    bc: int
    bs: int
    samples: int

    @property
    def grid(self) -> tuple[int, int]:
        return self.samples * self.blocks, self.splits


def cut(p: Planes) -> Cut:
    """Tiles along the axis that is contiguous; splits until the device is full."""
    n, c, s = p.sizes
    if p.strides[1] == 1 and p.strides[2] != 1:  # channels last
        bc = min(_power(c), 64)
        bs = min(_power(s), TILE // bc)
    else:
        bs = min(_power(s), TILE)
        bc = min(_power(c), max(TILE // bs, 1))
    blocks, all_tiles = -(-c // bc), -(-s // bs)
    wanted = max(1, CROWD * _processors(p.tensor.device) // max(n * blocks, 1))
    tiles = -(-all_tiles // min(wanted, all_tiles))
    return Cut(blocks, -(-all_tiles // tiles), tiles, bc, bs, n)


def _power(n: int) -> int:
    return triton.next_power_of_2(n)


@functools.cache
def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def _accumulator(x: torch.Tensor) -> tuple[torch.dtype, Any]:
    return (torch.float64, tl.float64) if x.dtype == torch.float64 else (torch.float32, tl.float32)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (as mean + rest) and biased variance of each plane of `x (N, C, *)`, each `(N, C)`."""
    if not x.numel():
        return torch_backend.moments(x)
    p = planes(x)
    k, (dtype, t) = cut(p), _accumulator(x)
    n, c, s = p.sizes
    parts = [x.new_empty((n, c, k.splits), dtype=dtype) for _ in range(3)]
    passes.moments[k.grid](
        p.tensor, *parts, c, s, *p.strides, k.blocks, k.splits, k.tiles, BC=k.bc, BS=k.bs, T=t
    )
    mean, rest, var = (x.new_empty((n, c), dtype=dtype) for _ in range(3))
    span = k.tiles * k.bs
    passes.merge[(-(-n * c // 128),)](
        *parts, mean, rest, var, n * c, s, k.splits, span, BP=128, T=t
    )
    return mean, rest, var


def shared(*numbers: torch.Tensor) -> tuple[int, tuple[torch.Tensor, ...]]:
    """The stride over samples of some `(N, C)`, `(1, C)` or `(C,)` numbers, and these numbers."""
    rows = [t.reshape(-1, t.shape[-1]) for t in numbers]
    most = max(t.shape[0] for t in rows)
    rows = [t.expand(most, -1).contiguous() for t in rows]
    return rows[0].stride(0) if most > 1 else 0, tuple(rows)


def fresh(p: Planes) -> Planes:
    """An empty tensor in the layout of `p`."""
    like = planes(torch.empty_like(p.tensor))
    if like.tensor.stride() != p.tensor.stride() and like.sizes[2] > 1:
        return planes(torch.empty_like(p.tensor, memory_format=torch.contiguous_format))
    return like


def apply(
    x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor, scale: torch.Tensor,
    shift: torch.Tensor, act: str | None = None, alpha: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """act((x - mean - rest) scale + shift) in the layout of `x`."""
    if not x.numel():
        return torch.empty_like(x)
    p, (mn, means), (an, affine) = planes(x), shared(mean, rest), shared(scale, shift)
    y, k, (_, t) = fresh(p), cut(p), _accumulator(x)
    passes.apply[k.grid](
        p.tensor, y.tensor, *means, *affine, *p.sizes[1:], *p.strides, *y.strides,
        mn, an, k.blocks, k.tiles,
        ACT=ACTS[act], ALPHA=alpha, BC=k.bc, BS=k.bs, T=t,
    )  # fmt: skip
    return y.tensor


def sums(
    g: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor,
    scale: torch.Tensor, shift: torch.Tensor, act: str | None = None, alpha: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Plane sums `(N, C)` of h and of h (x - mean), where h = g act'((x - mean) scale + shift)."""
    if not x.numel():
        return torch_backend.sums(g, x, mean, rest, scale, shift, act, alpha)
    h, p, (mn, means), (an, affine) = planes(g), planes(x), shared(mean, rest), shared(scale, shift)
    k, (dtype, t) = cut(p), _accumulator(x)
    parts = [x.new_empty((*p.sizes[:2], k.splits), dtype=dtype) for _ in range(2)]
    passes.sums[k.grid](
        h.tensor, p.tensor, *parts, *means, *affine, *p.sizes[1:], *h.strides,
        *p.strides, mn, an, k.blocks, k.splits, k.tiles,
        ACT=ACTS[act], ALPHA=alpha, BC=k.bc, BS=k.bs, T=t,
    )  # fmt: skip
    return parts[0].sum(2), parts[1].sum(2)


def write(
    g: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor,
    scale: torch.Tensor, shift: torch.Tensor, p: torch.Tensor, q: torch.Tensor,
    r: torch.Tensor, act: str | None = None, alpha: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """dx = p h + q (x - mean) + r in the layout of `x`, where h is that of `sums`."""
    if not x.numel():
        return torch.empty_like(x)
    gp, xp, (mn, means), (an, affine) = (
        planes(g),
        planes(x),
        shared(mean, rest),
        shared(scale, shift),
    )
    pn, pqr = shared(p, q, r)
    dx, k, (_, t) = fresh(xp), cut(xp), _accumulator(x)
    passes.write[k.grid](
        gp.tensor, xp.tensor, dx.tensor, *means, *affine, *pqr, *xp.sizes[1:],
        *gp.strides, *xp.strides, *dx.strides, mn, an, pn,
        k.blocks, k.tiles, ACT=ACTS[act], ALPHA=alpha, BC=k.bc, BS=k.bs, T=t,
    )  # fmt: skip
    return dx.tensor
