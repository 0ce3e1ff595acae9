"""Max-pool in C++: it keeps one byte for each window instead of torch's int64, see cpp/pool.cpp."""

from __future__ import annotations

import math
import struct
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from visus.kernels import FLOATS, load
from visus.kernels.normalize import watched

FORM = struct.Struct("=18q3Q")
PAST = 12 << 20  # bytes from which an output is written past the caches
MOST = 254  # elements of a window; 255 marks a window without any pixel

Pair = tuple[int, int]
Window = tuple[Pair, Pair, Pair, Pair]  # kernel, stride, padding, dilation


def max_pool2d(
    x: Tensor, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, *, always: bool = False,
) -> Tensor:  # fmt: skip
    """The largest of each window, `(N, C, H, W)` to `(N, C, H', W')`; torch's numbers bit for bit.

    The kernel serves where `benchmarks/pooling.py` found it faster; `always`, wherever it can.
    """
    stride = kernel if stride is None or stride == [] else stride
    window = tuple(map(_pair, (kernel, stride, padding, dilation)))
    if (_few(x, window) and not always) or not _serves(x, window):  # pyright: ignore[reportArgumentType]
        return F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    size = tuple(_windows(*axis, ceil_mode) for axis in zip(x.shape[2:], *window, strict=True))  # pyright: ignore[reportCallIssue]
    if min(size) < 1 or not (always or _faster(x, window)):  # torch has the words for none
        return F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    return _MaxPool.apply(x, window, size)  # pyright: ignore[reportReturnType]


def _pair(value: Any) -> Pair:
    values = (value, value) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values  # pyright: ignore[reportReturnType]


def _windows(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    room = n + 2 * p - d * (k - 1) - 1
    count = (-(-room // s) if ceil_mode else room // s) + 1
    return count - (ceil_mode and (count - 1) * s >= n + p)


LEAST = {True: 1 << 18, False: 1 << 20}  # looks (windows times their pixels), contiguous or not


def _few(x: Tensor, window: Any) -> bool:
    """Whether there is too little to do: the call of the kernel costs what it saves."""
    kernel, stride = map(math.prod, window[:2])
    return x.numel() * kernel < LEAST[x.is_contiguous()] * stride


def _faster(x: Tensor, window: Any) -> bool:
    """Contiguous rows but for long strides; channels-last where a backward pass or overlap repays it."""
    stride = window[1]
    if x.is_contiguous():
        return stride[1] <= 2
    return x.shape[1] >= 32 and (stride == (1, 1) or (x.requires_grad and torch.is_grad_enabled()))


def _serves(x: Tensor, window: Window) -> bool:
    """Whether the kernel takes `x` here; traced, transformed and odd tensors are torch's."""
    kernel, stride, padding, dilation = window
    return (
        not torch.compiler.is_compiling()
        and not watched(x)
        and x.device.type == "cpu" and x.dtype in FLOATS and x.dim() == 4 and x.numel() > 0
        and x.layout == torch.strided
        and all(len(pair) == 2 for pair in window)
        and kernel[0] * kernel[1] <= MOST and min(*kernel, *stride, *dilation) > 0
        and all(0 <= 2 * p <= k for p, k in zip(padding, kernel, strict=True))
        and load("cpp")[0] is not None
    )  # fmt: skip


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window, size: Pair) -> Tensor:
        last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
        ctx.format = torch.channels_last if last else torch.contiguous_format
        ctx.window, ctx.shape = window, x.shape
        y = torch.empty((*x.shape[:2], *size), dtype=x.dtype, memory_format=ctx.format)
        index = torch.empty_like(y, dtype=torch.uint8)
        _call("visus_max_pool", x.contiguous(memory_format=ctx.format), y, index, ctx)
        ctx.save_for_backward(index)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        return _Spread.apply(grads[0], index, ctx.window, ctx.shape, ctx.format), None, None


class _Spread(torch.autograd.Function):
    """The gradient, to the active pixels; linear in g, and its own gradient picks them again."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, index: Tensor, window: Window, shape: torch.Size, layout: Any
    ) -> Tensor:
        ctx.window, ctx.shape, ctx.format = window, shape, layout
        ctx.save_for_backward(index)
        dx = torch.empty(shape, dtype=g.dtype, memory_format=layout)
        _call("visus_max_pool_backward", g.contiguous(memory_format=layout), dx, index, ctx)
        return dx

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        return pick(grads[0], index, ctx.window), None, None, None, None


def pick(x: Tensor, index: Tensor, window: Window) -> Tensor:
    """The pixels of `x` that `index` names, in PyTorch; 0 for a window without any."""
    (_, kw), stride, padding, dilation = window
    number = index.long()
    rows, columns = (
        (torch.arange(size) * s - p).reshape(shape) + step * d
        for size, s, p, d, shape, step in zip(
            index.shape[2:], stride, padding, dilation, ((-1, 1), (1, -1)),
            (number // kw, number % kw), strict=True,
        )
    )  # fmt: skip
    there = index != MOST + 1
    flat = torch.where(there, rows * x.shape[3] + columns, 0).flatten(2)
    return x.flatten(2).gather(2, flat).reshape(index.shape) * there


def _call(name: str, x: Tensor, y: Tensor, index: Tensor, ctx: Any) -> None:
    from visus.kernels.cpp_backend import DTYPES, function

    sizes = *ctx.shape, *index.shape[2:], *(n for pair in ctx.window for n in pair)
    last = ctx.format == torch.channels_last
    function(name)(FORM.pack(
        DTYPES[x.dtype], last, *sizes, torch.get_num_threads(), y.nbytes >= PAST,
        x.data_ptr(), y.data_ptr(), index.data_ptr(),
    ))  # fmt: skip
