"""Pooling: one number for a window of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.arrays import Array, Gradients, Sizes, each, float64


def max_pool(
    x: Any,
    kernel: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest pixel of each window: `x (N, C, ...)` to `(N, C, ...)`; stride = kernel if None.

    Formula: y[n, c, i] = max over u of  x[n, c, s i + d u - p], where padded pixels count as -inf.
    There are floor((size + 2 p - d (K - 1) - 1) / s) + 1 windows an axis; in ceil mode the
    quotient is rounded up, but no window starts behind the last pixel and the left padding.

    Source: Boureau, Ponce & LeCun 2010; the output size is torch's.
    """
    return _winners(float64(x), kernel, stride, padding, dilation, ceil_mode)[0]


def max_pool_backward(
    g: Any,
    x: Any,
    kernel: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Gradients:
    """Gradient of max-pool.

    Gradient: y[i] equals one active pixel of its window, so dy[i]/dx is 1 for that pixel and 0
    for all others: g[i] is added there (windows may share their winner). Among equal pixels the
    first in row order is active. A window without any pixel (dilation can step over a small image)
    is -inf and has no active one; torch's backward writes out of bounds there.
    """
    x, g = float64(x), float64(g)
    _, where = _winners(x, kernel, stride, padding, dilation, ceil_mode)
    dx = np.zeros((x.shape[0] * x.shape[1], int(np.prod(x.shape[2:]))))
    flat = where.reshape(dx.shape[0], -1)
    plane, window = np.nonzero(flat >= 0)
    np.add.at(dx, (plane, flat[plane, window]), g.reshape(flat.shape)[plane, window])
    return {"x": dx.reshape(x.shape)}


def average_pool(
    x: Any,
    kernel: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window: `x (N, C, ...)` to `(N, C, ...)`; stride = kernel if None.

    Formula: y[n, c, i] = (1 / m_i) sum over u of  xpad[n, c, s i + u]. m_i is the number of
    window elements on the padded image (count_include_pad) or on the image itself; elements that
    ceil mode adds beyond the padding never count.

    Source: LeCun et al. 1998, section II.B (subsampling); the counts are torch's.
    """
    x = float64(x)
    y = np.zeros((*x.shape[:2], *_outputs(x, kernel, stride, padding, 1, ceil_mode)))
    for inside, pixels in _elements(x, kernel, stride, padding, 1, ceil_mode):
        y[inside] += x[pixels]
    return y / _counts(x, kernel, stride, padding, ceil_mode, count_include_pad)


def average_pool_backward(
    g: Any,
    x: Any,
    kernel: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Gradients:
    """Gradient of average pool.

    Gradient: dy[i]/dx = 1 / m_i for each pixel of the window, so each pixel gets g[i] / m_i from
    every window that holds it.
    """
    x, g = float64(x), float64(g)
    share = g / _counts(x, kernel, stride, padding, ceil_mode, count_include_pad)
    dx = np.zeros_like(x)
    for inside, pixels in _elements(x, kernel, stride, padding, 1, ceil_mode):
        dx[pixels] += share[inside]
    return {"x": dx}


def global_average_pool(x: Any) -> Array:
    """The mean of each plane, axes kept: `x (N, C, H, W)` to `(N, C, 1, 1)`.

    Formula: y[n, c] = (1 / m) sum over pixels of x[n, c].

    Source: Lin, Chen & Yan 2014, "Network in Network", section 3.2.
    """
    x = float64(x)
    return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)


def global_average_pool_backward(g: Any, x: Any) -> Gradients:
    """Gradient of the global average.

    Gradient: each of the m pixels of a plane gets g[n, c] / m.
    """
    x = float64(x)
    return {"x": np.broadcast_to(float64(g) * x.shape[0] * x.shape[1] / x.size, x.shape).copy()}


# ---- windows --------------------------------------------------------------------------


def _plan(x: Array, kernel: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes) -> list:
    """Kernel, stride, padding, dilation of every spatial axis."""
    axes = x.ndim - 2
    given = {"kernel": kernel, "stride": kernel if stride is None else stride}
    given |= {"padding": padding, "dilation": dilation}
    plan = [each(value, axes, name) for name, value in given.items()]
    if any(2 * p > k for p, k in zip(plan[2], plan[0], strict=True)):
        raise UsageError(f"pooling: padding {plan[2]} exceeds half of kernel {plan[0]}; use less")
    return plan


def _outputs(
    x: Array, kernel: Sizes, stride: Any, padding: Sizes, dilation: Sizes, ceil: bool
) -> list[int]:
    sizes = []
    for n, k, s, p, d in zip(
        x.shape[2:], *_plan(x, kernel, stride, padding, dilation), strict=True
    ):
        room = n + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= n + p:
            count -= 1
        if count < 1:
            raise UsageError(
                f"pooling: window {d * (k - 1) + 1} exceeds {n} pixels + 2 x {p} padding"
            )
        sizes.append(count)
    return sizes


def _elements(
    x: Array, kernel: Sizes, stride: Any, padding: Sizes, dilation: Sizes, ceil: bool
) -> Iterator[tuple[tuple, tuple]]:
    """For each window element in row order: the windows where it is on the image, and its pixels."""
    outputs = _outputs(x, kernel, stride, padding, dilation, ceil)
    k, s, p, d = _plan(x, kernel, stride, padding, dilation)
    for u in np.ndindex(*k):
        windows, pixels = [], []
        for axis, n in enumerate(x.shape[2:]):
            i = np.arange(outputs[axis])
            at = s[axis] * i + d[axis] * u[axis] - p[axis]
            windows.append(i[(at >= 0) & (at < n)])
            pixels.append(at[(at >= 0) & (at < n)])
        every = (np.arange(x.shape[0]), np.arange(x.shape[1]))
        yield np.ix_(*every, *windows), np.ix_(*every, *pixels)


def _winners(
    x: Array, kernel: Sizes, stride: Any, padding: Sizes, dilation: Sizes, ceil: bool
) -> tuple[Array, np.ndarray]:
    """The largest value of each window and its flat place in the plane (-1: no pixel); the first of equals."""
    shape = (*x.shape[:2], *_outputs(x, kernel, stride, padding, dilation, ceil))
    best, where = np.full(shape, -np.inf), np.full(shape, -1)
    place = np.broadcast_to(np.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:]), x.shape)
    for windows, pixels in _elements(x, kernel, stride, padding, dilation, ceil):
        value = x[pixels]
        wins = (value > best[windows]) | (where[windows] < 0) | np.isnan(value)
        best[windows] = np.where(wins, value, best[windows])
        where[windows] = np.where(wins, place[pixels], where[windows])
    return best, where


def _counts(
    x: Array, kernel: Sizes, stride: Any, padding: Sizes, ceil: bool, include: bool
) -> Array:
    """m_i for every window."""
    outputs = _outputs(x, kernel, stride, padding, 1, ceil)
    counts = np.ones(outputs)
    for axis, (n, k, s, p, _) in enumerate(
        zip(x.shape[2:], *_plan(x, kernel, stride, padding, 1), strict=True)
    ):
        start = s * np.arange(outputs[axis]) - p
        low, high = (-p, n + p) if include else (0, n)
        m = np.minimum(start + k, high) - np.maximum(start, low)
        counts *= m.reshape(-1, *[1] * (len(outputs) - axis - 1))
    return counts
