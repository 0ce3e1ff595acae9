"""Layer norms that are no unions of planes: over the last axes, and over C at each pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from visus.kernels import cpp_rows
from visus.kernels.cpp_backend import served
from visus.kernels.normalize import Algebra, Running, Tensors
from visus.kernels.torch_backend import ACTIVATIONS, computing


class Rows(Algebra):
    """Layer norm over the last axes: spec (eps, how many axes); tensors weight, bias of their shape."""

    def form(self) -> tuple:
        return True, self.spec[0], None, 0, self.spec[1]

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return tuple(range(x.dim() - self.spec[1], x.dim()))

    def _wide(self, t: Tensor, x: Tensor) -> Tensor:
        return t

    def _normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """xhat and 1 / sigma."""
        v = x.to(computing(x))
        d = v - v.mean(self._axes(x), keepdim=True)
        d = d - d.mean(self._axes(x), keepdim=True)
        inverse = torch.rsqrt(d.square().mean(self._axes(x), keepdim=True) + self.spec[0])
        return d * inverse, inverse

    def differentiable(self, x: Tensor, tensors: Tensors, act: str, alpha: float) -> Tensor:
        z = self._affine(self._normal(x)[0], tensors)
        return ACTIVATIONS[act][0](z, alpha).to(x.dtype)

    def _affine(self, xhat: Tensor, tensors: Tensors) -> Tensor:
        weight, bias = tensors
        z = xhat if weight is None else xhat * self._wide(weight, xhat)
        return z if bias is None else z + self._wide(bias, xhat)

    def forward(
        self, x: Tensor, tensors: Tensors, act: str, alpha: float, running: Running = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        if served(x, tensors, cpp_rows.width(x, self._view(x))):
            y, saved = cpp_rows.forward(x, tensors, self._view(x), self.spec[0], act, alpha)
            return y, [], [saved]
        y = self.differentiable(x, tensors, act, alpha)
        return torch.empty_like(x).copy_(y), [], []

    def outputs_like(self, x: Tensor, tensors: Tensors) -> list[Tensor]:
        if not served(x):
            return [torch.empty_like(x)]
        count = cpp_rows.sets(x, self._view(x))
        return [torch.empty_like(x), x.new_empty((3, count), dtype=computing(x))]

    def _view(self, x: Tensor) -> int:
        """Over how many last axes, or 0 for the channels of each pixel."""
        return self.spec[1]

    def backward(
        self, g: Tensor, x: Tensor, tensors: Tensors, saved: list[Tensor], act: str, alpha: float
    ) -> tuple[Tensor, Tensors]:
        """dx = (k - mean(k) - xhat mean(k xhat)) / sigma, where k = gamma h."""
        if served(x):
            return cpp_rows.backward(
                g, x, tensors, saved[0], self._view(x), self.spec[0], act, alpha
            )
        xhat, inverse = self._normal(x)
        h = g.to(xhat.dtype) * ACTIVATIONS[act][1](self._affine(xhat, tensors), alpha)
        k = h if tensors[0] is None else h * self._wide(tensors[0], xhat)
        axes = self._axes(x)
        mean, along = k.mean(axes, keepdim=True), (k * xhat).mean(axes, keepdim=True)
        dx = inverse * (k - mean - xhat * along)
        grads = [
            None if t is None else self._narrow(part, t).to(t.dtype)
            for t, part in zip(tensors, (h * xhat, h), strict=True)
        ]
        return torch.empty_like(x).copy_(dx), grads

    def _narrow(self, t: Tensor, like: Tensor) -> Tensor:
        return t.sum_to_size(like.shape)


class Pixels(Rows):
    """Layer norm over C at each pixel: spec (eps,); tensors weight, bias `(C,)`."""

    def form(self) -> tuple:
        return True, self.spec[0], None, 0, 0

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return (1,)

    def _view(self, x: Tensor) -> int:
        return 0

    def _wide(self, t: Tensor, x: Tensor) -> Tensor:
        return t.reshape(-1, *[1] * (x.dim() - 2))

    def _narrow(self, t: Tensor, like: Tensor) -> Tensor:
        return t.sum([d for d in range(t.dim()) if d != 1])
