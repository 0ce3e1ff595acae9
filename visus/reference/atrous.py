"""Atrous spatial pyramid pooling: one image seen at several scales at once.

Built from the other topics only. A unit is a dict of its arguments: `"weight"` and perhaps `"bias"` of
the convolution, `"gamma"` and `"beta"` if batch norm follows, `"relu": False` if no ReLU ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.activation import relu, relu_backward
from visus.reference.arrays import Array, Gradients, Sizes, each, float64
from visus.reference.convolution import convolution, convolution_backward
from visus.reference.normalization import batch_norm, batch_norm_backward
from visus.reference.pooling import global_average_pool, global_average_pool_backward

Unit = Mapping[str, Any]


def receptive_field(kernel: int, rate: int) -> int:
    """How many pixels a dilated kernel spans along an axis.

    Formula: rate * (kernel - 1) + 1, with no more weights than at rate 1.

    Source: Chen et al. 2017, "Rethinking Atrous Convolution", section 3.1.
    """
    return rate * (kernel - 1) + 1


def unit(x: Any, parts: Unit, *, rate: Sizes = 1, eps: float = 1e-5) -> Array:
    """Convolution that keeps the size, batch norm in training (with "gamma"), ReLU (unless False).

    Formula: y = relu(batch_norm(convolution(x))); `x (N, C, H, W)`, odd kernels, dilation `rate`.

    Source: Chen et al. 2017, "Rethinking Atrous Convolution", section 3.3.
    """
    z = _before_relu(x, parts, rate, eps)[1]
    return relu(z) if parts.get("relu", True) else z


def unit_backward(g: Any, x: Any, parts: Unit, *, rate: Sizes = 1, eps: float = 1e-5) -> Gradients:
    """Gradients of a unit by `x` and by each of its `parts`.

    Gradient: the chain rule, last layer first.
    """
    y, z = _before_relu(x, parts, rate, eps)
    h, own = relu_backward(g, z)["x"] if parts.get("relu", True) else g, {}
    if parts.get("gamma") is not None:
        own = batch_norm_backward(h, y, parts["gamma"], parts["beta"], eps=eps)
        h = own.pop("x")
    rest = convolution_backward(h, x, parts["weight"], parts.get("bias"), **_same(parts, rate))
    return {"x": rest.pop("x"), "parts": {**rest, **own}}


def _before_relu(x: Any, parts: Unit, rate: Sizes, eps: float) -> tuple[Array, Array]:
    """The convolution of a unit, and what its batch norm makes of it."""
    y = convolution(x, parts["weight"], parts.get("bias"), **_same(parts, rate))
    if parts.get("gamma") is None:
        return y, y
    return y, batch_norm(y, parts["gamma"], parts["beta"], eps=eps)


def aspp(
    x: Any, branches: Sequence[Unit], image: Unit | None, project: Unit,
    *, rates: Sequence[int], eps: float = 1e-5,
) -> Array:  # fmt: skip
    """ASPP: parallel atrous branches and the image's mean, concatenated, projected 1 x 1.

    Formula, for `x (N, C, H, W)`: branch b is a unit with dilation rates[b] (a 1 x 1 kernel at any
    rate); the image branch is a unit on the global average, repeated over all pixels (or None);

        y = unit(concatenate over channels of branch_1(x), ..., branch_B(x), image(x))

    Source: Chen et al. 2017, "Rethinking Atrous Convolution", section 3.3 and figure 5.
    """
    x = float64(x)
    return unit(_concatenate(x, branches, image, rates, eps), project, eps=eps)


def aspp_backward(
    g: Any, x: Any, branches: Sequence[Unit], image: Unit | None, project: Unit,
    *, rates: Sequence[int], eps: float = 1e-5,
) -> Gradients:  # fmt: skip
    """Gradients of ASPP by `x` and by the parts of `branches`, `image` and `project`.

    Gradient: the projection's gradient is cut at the seams of the concatenation; each branch gets
    its channels. What was repeated over the pixels is summed over them, then shared among
    the pixels of the mean. x gets the sum of all branches' gradients.
    """
    x = float64(x)
    last = unit_backward(g, _concatenate(x, branches, image, rates, eps), project, eps=eps)
    seams = np.cumsum([np.shape(parts["weight"])[0] for parts in branches])
    *pieces, rest = np.split(last["x"], seams, axis=1)
    found = [
        unit_backward(piece, x, parts, rate=rate, eps=eps)
        for piece, parts, rate in zip(pieces, branches, rates, strict=True)
    ]
    dx = sum((one["x"] for one in found), np.zeros_like(x))
    gradients = {"branches": [one["parts"] for one in found], "project": last["parts"]}
    if image is not None:
        mean = global_average_pool(x)
        own = unit_backward(rest.sum(axis=(2, 3), keepdims=True), mean, image, eps=eps)
        dx, gradients["image"] = dx + global_average_pool_backward(own["x"], x)["x"], own["parts"]
    return {"x": dx, **gradients}


def _concatenate(
    x: Array, branches: Sequence[Unit], image: Unit | None, rates: Sequence[int], eps: float
) -> Array:
    if len(branches) != len(rates):
        raise UsageError(f"aspp: {len(branches)} branches for {len(rates)} rates; give as many")
    seen = [unit(x, parts, rate=rate, eps=eps) for parts, rate in zip(branches, rates, strict=True)]
    if image is not None:
        y = unit(global_average_pool(x), image, eps=eps)
        seen.append(np.broadcast_to(y, (*y.shape[:2], *x.shape[2:])))
    return np.concatenate(seen, axis=1)


def _same(parts: Unit, rate: Sizes) -> dict[str, Any]:
    """The options that keep the size: padding rate * (K - 1) / 2."""
    kernel = np.shape(parts["weight"])[2:]
    rates = each(rate, len(kernel), "rate")
    if any(k % 2 == 0 for k in kernel):
        raise UsageError(f"aspp: kernel {kernel} is even and cannot keep the size; use odd ones")
    padding = [r * (k // 2) for r, k in zip(rates, kernel, strict=True)]
    return {"padding": padding, "dilation": rates}
