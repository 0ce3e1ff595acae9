"""A whole normalization in one C++ call: how algebras are handed over, see cpp/norms.cpp."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from visus.kernels.cpp_backend import ACTS, DTYPES, FORM, PAST, address, alike, function, layout
from visus.kernels.normalize import Running, Tensors, plane_size
from visus.kernels.torch_backend import computing


class Job:
    """One call: its tensors in the dtype that the kernels want, kept alive, and where they are."""

    def __init__(self, x: Tensor, tensors: Tensors, eps: float, gate: float | None, groups: int):
        self.x, self.last = layout(x)
        self.kind = computing(x)
        self.n, self.c, self.s = x.shape[0], x.shape[1], plane_size(x)
        self.tensors = [
            t if t is None or t.dtype == self.kind else t.to(self.kind) for t in tensors
        ]
        self.eps, self.groups, self.gate = eps, groups, gate
        self.own = self.n * groups if groups else self.n * self.c if gate != 1 else 0
        self.shared = 0 if groups or gate == 0 else self.c

    def saved_size(self) -> int:
        """How many float64 numbers a backward needs: means and 1 / sigma of planes and channels."""
        return 2 * (self.own + self.shared)

    def call(
        self, y: Tensor, saved: Tensor, act: str, alpha: float, running: Running = None,
        g: Tensor | None = None, grads: Any = (),
    ) -> None:  # fmt: skip
        """Forward, or with `g` backward, where y is dx."""
        at, own = saved.data_ptr(), 8 * self.own
        places = [address(t) for t in self.tensors]
        places += [0] * (5 - len(places))
        moved = (
            (0, 0, 0.0)
            if running is None
            else (address(running[0]), address(running[1]), running[2])
        )
        given = [address(t) for t in grads]
        function("visus_norm")(FORM.pack(
            DTYPES[y.dtype], self.last, self.n, self.c, self.s, ACTS[act], self.groups,
            torch.get_num_threads(), y.nbytes >= PAST,
            self.x.data_ptr(), address(g), y.data_ptr(), *places, *moved[:2],
            *given, *[0] * (3 - len(given)),
            at, at + own, at + 2 * own, at + 2 * own + 8 * self.shared,
            self.eps, alpha, 0.0 if self.gate is None else self.gate, moved[2],
        ))  # fmt: skip


def forward(
    x: Tensor, tensors: Tensors, spec: tuple[float, float | None, int], act: str, alpha: float,
    running: Running,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y and what backward needs; running moments of the whole batch are updated."""
    job = Job(x, tensors, *spec)
    y = torch.empty_like(job.x)
    saved = torch.empty(job.saved_size(), dtype=torch.float64)
    job.call(y, saved, act, alpha, running)
    if running is not None:
        torch.autograd.graph.increment_version(running[0])
        torch.autograd.graph.increment_version(running[1])
    return y, saved


def backward(
    g: Tensor, x: Tensor, tensors: Tensors, saved: Tensor, spec: tuple[float, float | None, int],
    act: str, alpha: float,
) -> tuple[Tensor, Tensors]:  # fmt: skip
    """dx and the gradients of weight, bias and gate."""
    job = Job(x, tensors, *spec)
    dx = torch.empty_like(job.x)
    grads = [None if t is None else torch.empty_like(t) for t in job.tensors[:3]]
    job.call(dx, saved, act, alpha, None, alike(g, job.x, job.last), grads)
    return dx, [*grads, *[None] * (len(tensors) - len(grads))]
