"""The norms as algebra: how plane moments `mean, var (N, C)` become scale and shift.

All index sets here are unions of planes, so the law of total variance is all it takes:
mean over a set = mean of the planes' means, var = mean of (var + (mean - set mean)^2).
Tensors come as (weight, bias, ...); None stands for 1 and 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from visus.kernels import cpp_norms
from visus.kernels.cpp_backend import served
from visus.kernels.normalize import Algebra, Tensors, plane_size, update
from visus.kernels.torch_backend import computing


def union(mean: Tensor, var: Tensor, axes: tuple[int, ...] | int) -> tuple[Tensor, Tensor]:
    """Moments of unions of equally large planes along `axes`, with the axes kept."""
    mu = mean.mean(axes, keepdim=True)
    return mu, (var + (mean - mu).square()).mean(axes, keepdim=True)


def pooled(mean: Tensor, var: Tensor, size: int) -> list[Tensor]:
    """Mean and unbiased variance `(C,)` of the whole batch."""
    (mu,), (v,) = union(mean, var, 0)
    count = mean.shape[0] * size
    return [mu, v * (count / max(count - 1, 1))]


def _affine(inverse: Tensor, offset: Tensor, weight: Tensor | None, bias: Tensor | None):  # type: ignore[no-untyped-def]
    # y = weight (inverse (x - mean) + offset) + bias
    if weight is not None:
        inverse, offset = inverse * weight, offset * weight
    return inverse, offset if bias is None else offset + bias


class InOneCall(Algebra):
    """An algebra that the C++ kernels have too: the same numbers, all passes in one call."""

    def cpp(self) -> tuple[float, float | None, int]:
        """(eps, constant gate or None, groups or 0)."""
        raise NotImplementedError

    def __init__(self, *spec: object):
        super().__init__(*spec)
        self.numbers = self.cpp()

    def form(self) -> tuple:
        eps, gate, groups = self.numbers
        return False, eps, gate, groups, 0

    def forward(self, x, tensors, act, alpha, running=None):  # type: ignore[no-untyped-def]
        if not served(x, tensors, x.shape[1]):
            return super().forward(x, tensors, act, alpha, running)
        gate = self.numbers[1]
        direct = running is not None and gate != 0 and running[0].dtype == computing(x)
        y, saved = cpp_norms.forward(
            x, tensors, self.numbers, act, alpha, running if direct else None
        )
        observed = [] if direct or not self.observes else self._observed(x, saved)
        update(running, observed)
        return y, observed, [saved]

    def _observed(self, x: Tensor, saved: Tensor) -> list[Tensor]:
        """From what was saved: the last C pairs are the batch's, or all are the instances'."""
        eps, gate, _ = self.cpp()
        c = x.shape[1]
        mean, inverse = (saved if gate == 0 else saved[-2 * c :]).view(2, -1, c)
        var = inverse.square().reciprocal() - eps
        count = plane_size(x) * (1 if gate == 0 else x.shape[0])
        found = mean.mean(0), var.mean(0) * (count / max(count - 1, 1))
        return [t.to(computing(x)) for t in found]

    def outputs_like(self, x: Tensor, tensors: Tensors) -> list[Tensor]:
        found = super().outputs_like(x, tensors)
        if not served(x):
            return found
        _, gate, groups = self.cpp()  # as in Plan, but with sizes that may be symbols
        own = x.shape[0] * (groups or (0 if gate == 1 else x.shape[1]))
        size = 2 * (own + (0 if groups or gate == 0 else x.shape[1]))
        return [*found[: 1 + self.observes], x.new_empty(size, dtype=torch.float64)]

    def backward(self, g, x, tensors, saved, act, alpha):  # type: ignore[no-untyped-def]
        if not served(x):
            return super().backward(g, x, tensors, saved, act, alpha)
        return cpp_norms.backward(g, x, tensors, saved[0], self.numbers, act, alpha)


class Mixture(InOneCall):
    """gate xhat_batch + (1 - gate) xhat_instance: batch (gate 1), instance (gate 0), or between.

    Spec: (eps, constant gate or None). Tensors: weight, bias, gate, fixed mean, fixed var, each
    `(C,)` or None; with fixed moments the batch part uses these instead of the batch's own.
    """

    takes = 5
    learns = 3
    observes = 2

    def cpp(self) -> tuple[float, float | None, int]:
        return (*self.spec, 0)

    def plane(
        self, mean: Tensor, var: Tensor, size: int, tensors: Tensors
    ) -> tuple[Tensor, Tensor]:
        eps, constant = self.spec
        weight, bias, gate, fixed_mean, fixed_var = tensors
        share = constant if gate is None else gate
        mu, v = union(mean, var, 0) if fixed_mean is None else (fixed_mean, fixed_var)
        batch = torch.rsqrt(v.to(mean.dtype) + eps) * share  # type: ignore[union-attr]
        offset = (mean - mu) * batch
        scale = batch.expand_as(mean)
        if constant != 1:
            scale = scale + torch.rsqrt(var + eps) * (1 - share)
        return _affine(scale, offset, weight, bias)

    def observe(self, mean: Tensor, var: Tensor, size: int) -> list[Tensor]:
        """Batch moments; where only instances are normalized, the mean of theirs, as torch."""
        if self.spec[1] == 0:
            return [mean.mean(0), var.mean(0) * (size / max(size - 1, 1))]
        return pooled(mean, var, size)


class Groups(InOneCall):
    """Group norm: spec (eps, groups); tensors weight, bias `(C,)`. One group: layer norm."""

    def cpp(self) -> tuple[float, float | None, int]:
        return self.spec[0], 1.0, self.spec[1]

    def plane(
        self, mean: Tensor, var: Tensor, size: int, tensors: Tensors
    ) -> tuple[Tensor, Tensor]:
        eps, groups = self.spec
        shape = mean.shape
        mean, var = (t.reshape(shape[0], groups, -1) for t in (mean, var))
        mu, v = union(mean, var, 2)
        inverse = torch.rsqrt(v + eps)
        parts = (inverse.expand_as(mean), (mean - mu) * inverse)
        return _affine(*(t.reshape(shape) for t in parts), *tensors)


class Switch(Algebra):
    """Switch norm (Luo et al. 2019, equations 3 to 5): moments mixed over three kinds of sets.

    Spec: (eps,). Tensors: weight, bias `(C,)`, mean_weight, var_weight `(3,)` over (instance,
    layer, batch), fixed mean and var `(C,)` for the batch part, or None.
    """

    takes = 6
    learns = 4
    observes = 2

    def observe(self, mean: Tensor, var: Tensor, size: int) -> list[Tensor]:
        return pooled(mean, var, size)

    def plane(
        self, mean: Tensor, var: Tensor, size: int, tensors: Tensors
    ) -> tuple[Tensor, Tensor]:
        (eps,) = self.spec
        weight, bias, mean_weight, var_weight, fixed_mean, fixed_var = tensors
        layer = union(mean, var, 1)
        batch = union(mean, var, 0) if fixed_mean is None else (fixed_mean, fixed_var)
        w, v = (t.to(mean.dtype).softmax(0) for t in (mean_weight, var_weight))  # type: ignore[union-attr]
        mu = w[0] * mean + w[1] * layer[0] + w[2] * batch[0]
        spread = v[0] * var + v[1] * layer[1] + v[2] * batch[1]  # type: ignore[operator]
        inverse = torch.rsqrt(spread + eps)
        return _affine(inverse, (mean - mu) * inverse, weight, bias)
