"""Layer norms in one C++ call, see cpp/rows.cpp: rows of numbers, or the channels of pixels."""

from __future__ import annotations

import math
import struct

import torch
from torch import Tensor

from visus.kernels.cpp_backend import ACTS, DTYPES, PAST, address, function, layout
from visus.kernels.normalize import Tensors
from visus.kernels.torch_backend import computing

FORM = struct.Struct("=16q2d")


class View:
    """`x` as rows of numbers (`axes` last ones), or as pixels of channels (`axes` 0), in its layout.

    Channels-last input stays so where the rows are all but the first axis: then weight and bias
    are laid out like a sample (`order`).
    """

    def __init__(self, x: Tensor, axes: int):
        self.permuted = False
        if axes == 0:
            self.x, self.last = layout(x)
            self.shape = (
                _pixels(x) if not self.last else (0, x.numel() // x.shape[1], x.shape[1], 1)
            )
        else:
            self.x, self.last = layout(x) if axes == x.dim() - 1 > 1 else (x.contiguous(), 0)
            rows = math.prod(x.shape[: x.dim() - axes])
            self.shape = (0, rows, x.numel() // rows, 1)
            self.permuted = self.last and not self.x.is_contiguous()
        self.sets = self.shape[1] * self.shape[3]

    def order(self, t: Tensor | None) -> Tensor | None:
        """A weight in the order of the numbers in memory."""
        if t is None:
            return None
        t = t if t.dtype == computing(self.x) else t.to(computing(self.x))
        return t.movedim(0, -1).contiguous() if self.permuted else t.contiguous()

    def back(self, t: Tensor) -> Tensor:
        """The gradient of an ordered weight as that of the weight."""
        return t.movedim(-1, 0) if self.permuted else t

    def alike(self, g: Tensor) -> Tensor:
        """`g` in the layout of `x`."""
        g = g if g.dtype == self.x.dtype else g.to(self.x.dtype)
        if g.stride() == self.x.stride():
            return g
        if self.x.is_contiguous():
            return g.contiguous()
        return g.movedim(1, -1).contiguous().movedim(-1, 1)


def _pixels(x: Tensor) -> tuple[int, int, int, int]:
    return 1, x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _call(view: View, g: Tensor | None, y: Tensor, tensors: Tensors, grads: Tensors, saved: Tensor, eps: float, act: str, alpha: float) -> None:  # fmt: skip
    function("visus_layer")(FORM.pack(
        DTYPES[y.dtype], *view.shape, ACTS[act], torch.get_num_threads(), y.nbytes >= PAST,
        view.x.data_ptr(), address(g), y.data_ptr(), *map(address, tensors), *map(address, grads),
        saved.data_ptr(), eps, alpha,
    ))  # fmt: skip


def forward(
    x: Tensor, tensors: Tensors, axes: int, eps: float, act: str, alpha: float
) -> tuple[Tensor, Tensor]:
    """y, and mean and 1 / sigma of each set."""
    view = View(x, axes)
    y = torch.empty_like(view.x)
    saved = torch.empty((3, view.sets), dtype=computing(x))
    ordered = [view.order(t) for t in tensors]
    _call(view, None, y, ordered, [None, None], saved, eps, act, alpha)
    return y, saved


def backward(
    g: Tensor, x: Tensor, tensors: Tensors, saved: Tensor, axes: int, eps: float, act: str, alpha: float
) -> tuple[Tensor, Tensors]:  # fmt: skip
    """dx and the gradients of weight and bias."""
    view = View(x, axes)
    dx = torch.empty_like(view.x)
    ordered = [view.order(t) for t in tensors]
    grads = [None if t is None else torch.empty_like(t) for t in ordered]
    _call(view, view.alike(g), dx, ordered, grads, saved, eps, act, alpha)
    return dx, [None if t is None else view.back(t) for t in grads]
