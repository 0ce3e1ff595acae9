"""Normalization: one sentence, and another index set for each layer.

For `x (N, C, ...)` and an index i, with S_i the set of indices that share statistics with i:

    mu_i = mean of x_k over S_i        var_i = mean of (x_k - mu_i)^2 over S_i
    xhat_i = (x_i - mu_i) / sqrt(var_i + eps)        y_i = gamma_c xhat_i + beta_c

    batch     S_i = { k : k_C = i_C }
    instance  S_i = { k : k_C = i_C, k_N = i_N }
    layer     S_i = { k : k_N = i_N }
    group     S_i = { k : k_N = i_N, group(k_C) = group(i_C) }
    pixel     S_i = { k : k_N = i_N, k_H = i_H, k_W = i_W }

The sets of one layer do not overlap, so they are held as a list of flat index arrays, one for
each set. `gamma` and `beta` are `(C,)`, or None for 1 and 0.

Source: Wu & He 2018, "Group Normalization", equations 1 to 7.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.arrays import Array, Gradients, by_channel, float64, sum_to

Sets = list[np.ndarray]

# ---- the index sets -------------------------------------------------------------------


def batch_sets(shape: tuple[int, ...]) -> Sets:
    """S_i = { k : k_C = i_C }."""
    k = np.indices(shape)
    return partition(k[1])


def instance_sets(shape: tuple[int, ...]) -> Sets:
    """S_i = { k : k_C = i_C, k_N = i_N }."""
    k = np.indices(shape)
    return partition(k[0], k[1])


def layer_sets(shape: tuple[int, ...]) -> Sets:
    """S_i = { k : k_N = i_N }."""
    k = np.indices(shape)
    return partition(k[0])


def group_sets(shape: tuple[int, ...], groups: int) -> Sets:
    """S_i = { k : k_N = i_N, floor(k_C / (C / groups)) = floor(i_C / (C / groups)) }."""
    if groups < 1 or shape[1] % groups:
        raise UsageError(f"group norm: {shape[1]} channels in {groups} groups; use a divisor")
    k = np.indices(shape)
    return partition(k[0], k[1] // (shape[1] // groups))


def pixel_sets(shape: tuple[int, ...]) -> Sets:
    """S_i = { k : k_N = i_N, and all spatial coordinates as those of i }."""
    k = np.indices(shape)
    return partition(k[0], *k[2:])


def partition(*labels: np.ndarray) -> Sets:
    """The sets of indices on which all labels agree, as flat index arrays."""
    labels = tuple(label.ravel() for label in labels)
    order = np.lexsort(labels)
    new = np.zeros(max(order.size - 1, 0), dtype=bool)
    for label in labels:
        new |= np.diff(label[order]) != 0
    return [part for part in np.split(order, np.flatnonzero(new) + 1) if part.size]


def mean_over(sets: Sets, x: Array) -> Array:
    """The mean over S_i at every index i: an array of the shape of `x`."""
    flat, mean = x.ravel(), np.zeros(x.size)
    for members in sets:
        mean[members] = flat[members].mean()
    return mean.reshape(x.shape)


def centered(sets: Sets, x: Array) -> Array:
    """x_i - mu_i. Twice: the first mean is rounded at the size of the mean, the second is not."""
    x = x - mean_over(sets, x)
    return x - mean_over(sets, x)


def normalize(sets: Sets, x: Array, eps: float) -> Array:
    """xhat_i = (x_i - mu_i) / sqrt(var_i + eps), with mu and var over S_i.

    Source: Wu & He 2018, equations 1 and 2.
    """
    d = centered(sets, x)
    return d / np.sqrt(mean_over(sets, d * d) + eps)


def normalize_backward(h: Array, sets: Sets, x: Array, eps: float) -> Array:
    """dL/dx, given h = dL/dxhat.

    Gradient. Write d = x - mu, v = mean of d^2, r = (v + eps)^(-1/2), so xhat = r d; all means
    are over S. For k in S, with m = |S| elements:

        dd_i/dx_k = 1[i = k] - 1/m          dv/dx_k = 2 d_k / m   (as the sum of d is 0)
        dr/dx_k   = -1/2 r^3 dv/dx_k = -r^3 d_k / m = -r^2 xhat_k / m

        dL/dx_k = sum over i in S of  h_i (r dd_i/dx_k + d_i dr/dx_k)
                = r h_k - r mean(h) - r xhat_k mean(h xhat)
                = r (h_k - mean(h) - xhat_k mean(h xhat))

    The gradient has no part along 1 and (but for eps) none along xhat: moving x in these
    directions changes nothing that comes after.

    Source: Ioffe & Szegedy 2015, section 3, with the sums collected.
    """
    d = centered(sets, x)
    r = 1 / np.sqrt(mean_over(sets, d * d) + eps)
    xhat = r * d
    return r * (centered(sets, h) - xhat * mean_over(sets, h * xhat))


def affine(xhat: Array, gamma: Any, beta: Any) -> Array:
    """y = gamma xhat + beta, channel by channel; None stands for 1 and 0."""
    y = xhat if gamma is None else by_channel(gamma, xhat) * xhat
    return y if beta is None else y + by_channel(beta, xhat)


def affine_backward(g: Array, xhat: Array, gamma: Any, beta: Any) -> tuple[Array, Gradients]:
    """h = dL/dxhat = gamma g, and dL/dgamma = sum of g xhat, dL/dbeta = sum of g, per channel."""
    gradients = {}
    if gamma is not None:
        gradients["gamma"] = sum_to(gamma, g * xhat)
    if beta is not None:
        gradients["beta"] = sum_to(beta, g)
    return (g if gamma is None else by_channel(gamma, g) * g), gradients


def _forward(sets: Sets, x: Array, gamma: Any, beta: Any, eps: float) -> Array:
    return affine(normalize(sets, x, eps), gamma, beta)


def _backward(g: Any, sets: Sets, x: Array, gamma: Any, beta: Any, eps: float) -> Gradients:
    h, gradients = affine_backward(float64(g), normalize(sets, x, eps), gamma, beta)
    return {"x": normalize_backward(h, sets, x, eps), **gradients}


# ---- one layer for each set -----------------------------------------------------------


def batch_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5) -> Array:
    """Batch norm in training: each channel by its moments over the batch; `x (N, C, ...)`.

    Formula: y = gamma xhat + beta over S_i = { k : k_C = i_C }.

    Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    x = float64(x)
    return _forward(batch_sets(x.shape), x, gamma, beta, eps)


def batch_norm_backward(
    g: Any, x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Gradients:
    """Gradients of batch norm in training by `x`, `gamma`, `beta`.

    Gradient: `normalize_backward` of h = gamma g over S_i = { k : k_C = i_C }; dL/dgamma and
    dL/dbeta are the sums of g xhat and of g over each channel.

    Source: Ioffe & Szegedy 2015, section 3.
    """
    x = float64(x)
    return _backward(g, batch_sets(x.shape), x, gamma, beta, eps)


def batch_norm_test(
    x: Any, mean: Any, var: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Array:
    """Batch norm at test time: with fixed `mean (C,)` and `var (C,)`; `x (N, C, ...)`.

    Formula: y = gamma (x - mean) / sqrt(var + eps) + beta: an affine map of each channel, no
    sample sees another. An instance norm that tracks moments does the same.

    Source: Ioffe & Szegedy 2015, algorithm 2, step 11.
    """
    x = float64(x)
    xhat = (x - by_channel(mean, x)) / np.sqrt(by_channel(var, x) + eps)
    return affine(xhat, gamma, beta)


def batch_norm_test_backward(
    g: Any, x: Any, mean: Any, var: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Gradients:
    """Gradients of batch norm at test time by `x`, `gamma`, `beta`.

    Gradient: mean and var do not depend on x, so dL/dx = gamma g / sqrt(var + eps), and the sums
    for gamma and beta are as in training.
    """
    x = float64(x)
    r = 1 / np.sqrt(by_channel(var, x) + eps)
    h, gradients = affine_backward(float64(g), (x - by_channel(mean, x)) * r, gamma, beta)
    return {"x": h * r, **gradients}


def instance_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5) -> Array:
    """Instance norm: each plane `x[n, c]` by its own moments; `x (N, C, ...)`.

    Formula: y = gamma xhat + beta over S_i = { k : k_C = i_C, k_N = i_N }; the same in test.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance Normalization", section 2.
    """
    x = float64(x)
    return _forward(instance_sets(x.shape), x, gamma, beta, eps)


def instance_norm_backward(
    g: Any, x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Gradients:
    """Gradients of instance norm by `x`, `gamma`, `beta`.

    Gradient: `normalize_backward` of h = gamma g over S_i = { k : k_C = i_C, k_N = i_N }.
    """
    x = float64(x)
    return _backward(g, instance_sets(x.shape), x, gamma, beta, eps)


def layer_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5) -> Array:
    """Layer norm: each sample by its moments over channels and pixels; `x (N, C, ...)`.

    Formula: y = gamma xhat + beta over S_i = { k : k_N = i_N }. `gamma` and `beta` are `(C,)`, or
    of one sample's shape `x.shape[1:]`, as in torch.

    Source: Ba, Kiros & Hinton 2016, equation 3.
    """
    x = float64(x)
    return _forward(layer_sets(x.shape), x, gamma, beta, eps)


def layer_norm_backward(
    g: Any, x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Gradients:
    """Gradients of layer norm by `x`, `gamma`, `beta`.

    Gradient: `normalize_backward` of h = gamma g over S_i = { k : k_N = i_N }.
    """
    x = float64(x)
    return _backward(g, layer_sets(x.shape), x, gamma, beta, eps)


def group_norm(
    x: Any, groups: int, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Array:
    """Group norm: each sample by its moments over a group of channels; `x (N, C, ...)`.

    Formula: y = gamma xhat + beta over S_i = { k : k_N = i_N, group(k_C) = group(i_C) }. One
    group is layer norm, C groups are instance norm.

    Source: Wu & He 2018, equation 7.
    """
    x = float64(x)
    return _forward(group_sets(x.shape, groups), x, gamma, beta, eps)


def group_norm_backward(
    g: Any, x: Any, groups: int, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Gradients:
    """Gradients of group norm by `x`, `gamma`, `beta`.

    Gradient: `normalize_backward` of h = gamma g over S_i, the indices of i's sample and group.
    gamma stands within the means over a group, as it differs between the group's channels.
    """
    x = float64(x)
    return _backward(g, group_sets(x.shape, groups), x, gamma, beta, eps)


def pixel_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-6) -> Array:
    """Layer norm over the channels of each pixel (`LayerNorm2d`); `x (N, C, ...)`.

    Formula: y = gamma xhat + beta over S_i = { k : k_N = i_N, k_H = i_H, k_W = i_W }. These sets
    are no unions of planes.

    Source: Liu et al. 2022, "A ConvNet for the 2020s", section 2.6.
    """
    x = float64(x)
    return _forward(pixel_sets(x.shape), x, gamma, beta, eps)


def pixel_norm_backward(
    g: Any, x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-6
) -> Gradients:
    """Gradients of the layer norm over the channels of each pixel.

    Gradient: `normalize_backward` of h = gamma g over the channels of one pixel.
    """
    x = float64(x)
    return _backward(g, pixel_sets(x.shape), x, gamma, beta, eps)
