"""Convolution, and its two local gradients, which are convolutions again.

Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning",
sections 2 and 4 (the gradient by the input is the transposed convolution).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.arrays import Array, Gradients, Sizes, each, float64, pad, shifted


def convolution(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Convolve `x (N, C, ...)` with `weight (O, C / groups, ...)`: `(N, O, ...)`, any spatial axes.

    Formula, in one spatial axis (as all libraries do, the kernel is not mirrored):

        y[n, o, i] = bias[o] + sum over c, u of  weight[o, c, u] * xpad[n, c, s i + d u]

    with stride s, dilation d, and xpad = x between p zeros on each side. There are
    floor((size + 2 p - d (K - 1) - 1) / s) + 1 outputs. With groups, output channels see
    only the input channels of their own group.

    Source: Dumoulin & Visin 2016, relationship 6, with dilation from section 5.1.
    """
    x, weight = float64(x), float64(weight)
    axes = x.ndim - 2
    s, p, d = (
        each(stride, axes, "stride"),
        each(padding, axes, "padding"),
        each(dilation, axes, "dilation"),
    )
    _check(x, weight, groups)
    padded = pad(x, [(a, a) for a in p])
    parts = zip(np.split(padded, groups, axis=1), np.split(weight, groups), strict=True)
    y = np.concatenate([_slide(part, kernel, s, d) for part, kernel in parts], axis=1)
    return y if bias is None else y + float64(bias).reshape(1, -1, *[1] * axes)


def convolution_backward(
    g: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Gradients:
    """Gradients of a convolution by `x`, `weight` and `bias`, given `g (N, O, ...)`.

    Gradient: see `gradient_by_input` and `gradient_by_weight` for the two convolutions. The
    bias enters every output of its channel with factor 1, so

        dL/dbias[o] = sum over n, i of  g[n, o, i]

    Source: Dumoulin & Visin 2016, section 4.
    """
    g, x, weight = float64(g), float64(x), float64(weight)
    axes = x.ndim - 2
    s, p, d = (
        each(stride, axes, "stride"),
        each(padding, axes, "padding"),
        each(dilation, axes, "dilation"),
    )
    gs, xs, ws = np.split(g, groups, 1), np.split(x, groups, 1), np.split(weight, groups)
    dx = [gradient_by_input(a, c, b.shape[2:], s, p, d) for a, b, c in zip(gs, xs, ws, strict=True)]
    dw = [
        gradient_by_weight(a, b, c.shape[2:], s, p, d) for a, b, c in zip(gs, xs, ws, strict=True)
    ]
    gradients = {"x": np.concatenate(dx, axis=1), "weight": np.concatenate(dw, axis=0)}
    if bias is not None:
        gradients["bias"] = g.sum(axis=(0, *range(2, g.ndim)))
    return gradients


def gradient_by_input(
    g: Array, weight: Array, size: Any, s: tuple[int, ...], p: tuple[int, ...], d: tuple[int, ...]
) -> Array:
    """dL/dx as a convolution: of the spread `g` with the mirrored, transposed kernel.

    Gradient. x[n, c, j] meets output i through the kernel element u where j + p = s i + d u:

        dL/dx[n, c, j] = sum over o, u, i with s i = j + p - d u  of  g[n, o, i] weight[o, c, u]

    Let G be g with s - 1 zeros between neighbors, so G[s i] = g[i], and mirror the kernel,
    u = K - 1 - v. Then

        dL/dx[n, c, j] = sum over o, v of  G[n, o, j + p - d (K - 1) + d v] weight[o, c, K - 1 - v]

    which is a convolution of G: stride 1, dilation d, padding d (K - 1) - p (a negative one
    crops), with kernel weight'[c, o, v] = weight[o, c, K - 1 - v]. Where the stride left pixels
    at the end of x unseen, G is continued by as many zeros.
    """
    spread = _spread(g, s)
    kernel = np.flip(weight, axis=tuple(range(2, weight.ndim))).swapaxes(0, 1)
    pairs = []
    for a, pi, di, k, n in zip(spread.shape[2:], p, d, weight.shape[2:], size, strict=True):
        before = di * (k - 1) - pi
        pairs.append((before, n + di * (k - 1) - a - before))
    ones = (1,) * len(s)
    return _slide(pad(spread, pairs), kernel, ones, d)


def gradient_by_weight(
    g: Array, x: Array, size: Any, s: tuple[int, ...], p: tuple[int, ...], d: tuple[int, ...]
) -> Array:
    """dL/dweight as a convolution: of the padded `x` with `g` as the kernel.

    Gradient. weight[o, c, u] multiplies xpad[n, c, s i + d u] in the output i, so

        dL/dweight[o, c, u] = sum over n, i of  g[n, o, i] xpad[n, c, d u + s i]

    which is a convolution over the samples instead of the channels: the image is x with N and
    C exchanged, the kernel is g with N and O exchanged, and stride and dilation have changed
    places (stride d, dilation s). Pixels beyond the last window are cropped first.
    """
    ends = [
        si * (n - 1) + di * (k - 1) + 1
        for si, di, n, k in zip(s, d, g.shape[2:], size, strict=True)
    ]
    pairs = [(pi, end - n - pi) for pi, end, n in zip(p, ends, x.shape[2:], strict=True)]
    image, kernel = pad(x, pairs).swapaxes(0, 1), g.swapaxes(0, 1)
    return _slide(image, kernel, d, s).swapaxes(0, 1)


def _slide(x: Array, weight: Array, s: tuple[int, ...], d: tuple[int, ...]) -> Array:
    """The sum over c and u of the formula: no padding, no groups, no bias."""
    kernel = weight.shape[2:]
    outputs = [
        (n - di * (k - 1) - 1) // si + 1
        for n, si, di, k in zip(x.shape[2:], s, d, kernel, strict=True)
    ]
    if min(outputs, default=1) < 0 or any(n == 0 for n in kernel):
        raise UsageError(
            f"convolution: kernel {kernel} dilated {d} exceeds the padded {x.shape[2:]}"
        )
    y = np.zeros((x.shape[0], weight.shape[0], *outputs))
    for u in np.ndindex(*kernel):
        seen = x[shifted(u, outputs, s, d)]
        y += np.einsum("nc...,oc->no...", seen, weight[(slice(None), slice(None), *u)])
    return y


def _spread(g: Array, s: tuple[int, ...]) -> Array:
    """G of the derivation: s - 1 zeros between neighboring pixels of g."""
    sizes = [max(si * (n - 1) + 1, 0) for si, n in zip(s, g.shape[2:], strict=True)]
    spread = np.zeros((*g.shape[:2], *sizes))
    spread[(slice(None), slice(None), *[slice(None, None, si) for si in s])] = g
    return spread


def _check(x: Array, weight: Array, groups: int) -> None:
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise UsageError(
            f"convolution: weight {weight.shape} in {groups} groups does not fit x {x.shape}; "
            f"give (O, {x.shape[1] // groups}, ...) with O divisible by {groups}"
        )
