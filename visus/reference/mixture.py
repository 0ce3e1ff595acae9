"""Norms that mix index sets, and the statistics that batch norm keeps for test time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from visus.reference.arrays import Array, Gradients, by_channel, float64, sum_to
from visus.reference.linear import softmax, softmax_backward
from visus.reference.normalization import (
    Sets,
    affine,
    affine_backward,
    batch_sets,
    centered,
    instance_sets,
    layer_sets,
    mean_over,
    normalize,
    normalize_backward,
)


def batch_instance_norm(
    x: Any, rho: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Array:
    """Batch-instance norm in training: a gate `rho (C,)` in [0, 1] between two norms.

    Formula: y = gamma (rho xhat_BN + (1 - rho) xhat_IN) + beta for `x (N, C, ...)`, with xhat_BN
    over S_i = { k : k_C = i_C } and xhat_IN over S_i = { k : k_C = i_C, k_N = i_N }. The gate is
    kept in [0, 1] after each update, not here.

    Source: Nam & Kim 2018, "Batch-Instance Normalization", section 3.
    """
    x = float64(x)
    return affine(_gate(rho, *_two(x, eps)), gamma, beta)


def batch_instance_norm_backward(
    g: Any, x: Any, rho: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Gradients:
    """Gradients of batch-instance norm in training by `x`, `rho`, `gamma`, `beta`.

    Gradient. With h = gamma g the gradient by the mixture, the two norms get rho h and
    (1 - rho) h, and their gradients by x add up. The gate enters by the difference:

        dL/drho[c] = sum over n, pixels of  h (xhat_BN - xhat_IN)
    """
    x = float64(x)
    bn, instance = _two(x, eps)
    h, gradients = affine_backward(float64(g), _gate(rho, bn, instance), gamma, beta)
    r = by_channel(rho, x)
    dx = normalize_backward(r * h, batch_sets(x.shape), x, eps)
    dx = dx + normalize_backward((1 - r) * h, instance_sets(x.shape), x, eps)
    return {"x": dx, "rho": sum_to(rho, h * (bn - instance)), **gradients}


def batch_instance_norm_test(
    x: Any, mean: Any, var: Any, rho: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> Array:
    """Batch-instance norm at test time: fixed `mean`, `var` `(C,)` for its batch part.

    Formula: y = gamma (rho (x - mean) / sqrt(var + eps) + (1 - rho) xhat_IN) + beta.

    Source: Nam & Kim 2018, section 3.
    """
    x = float64(x)
    return affine(_gate(rho, *_two_test(x, mean, var, eps)), gamma, beta)


def batch_instance_norm_test_backward(
    g: Any, x: Any, mean: Any, var: Any, rho: Any, gamma: Any = None, beta: Any = None,
    *, eps: float = 1e-5,
) -> Gradients:  # fmt: skip
    """Gradients of batch-instance norm at test time by `x`, `rho`, `gamma`, `beta`.

    Gradient: as in training, but mean and var are constants, so the batch part passes
    rho h / sqrt(var + eps) on.
    """
    x = float64(x)
    fixed, instance = _two_test(x, mean, var, eps)
    h, gradients = affine_backward(float64(g), _gate(rho, fixed, instance), gamma, beta)
    r = by_channel(rho, x)
    dx = r * h / np.sqrt(by_channel(var, x) + eps)
    dx = dx + normalize_backward((1 - r) * h, instance_sets(x.shape), x, eps)
    return {"x": dx, "rho": sum_to(rho, h * (fixed - instance)), **gradients}


def _two(x: Array, eps: float) -> tuple[Array, Array]:
    return normalize(batch_sets(x.shape), x, eps), normalize(instance_sets(x.shape), x, eps)


def _two_test(x: Array, mean: Any, var: Any, eps: float) -> tuple[Array, Array]:
    fixed = (x - by_channel(mean, x)) / np.sqrt(by_channel(var, x) + eps)
    return fixed, normalize(instance_sets(x.shape), x, eps)


def _gate(rho: Any, one: Array, other: Array) -> Array:
    r = by_channel(rho, one)
    return r * one + (1 - r) * other


# ---- switch norm: the moments are mixed, not the results ------------------------------


def switch_norm(
    x: Any, mean_weight: Any, var_weight: Any, gamma: Any = None, beta: Any = None,
    *, eps: float = 1e-5,
) -> Array:  # fmt: skip
    """Switch norm in training: moments mixed over instance, layer and batch sets.

    Formula, for `x (N, C, ...)`, with k over (instance, layer, batch), w = softmax(mean_weight),
    w' = softmax(var_weight), both `(3,)`:

        y = gamma (x - sum_k w_k mu_k) / sqrt(sum_k w'_k var_k + eps) + beta

    Source: Luo et al. 2019, "Differentiable Learning-to-Normalize via Switchable
    Normalization", equations 3 to 5.
    """
    x = float64(x)
    d, r = _switched(_moments(x), mean_weight, var_weight, eps)
    return affine(r * d, gamma, beta)


def switch_norm_backward(
    g: Any, x: Any, mean_weight: Any, var_weight: Any, gamma: Any = None, beta: Any = None,
    *, eps: float = 1e-5,
) -> Gradients:  # fmt: skip
    """Gradients of switch norm by `x`, `mean_weight`, `var_weight`, `gamma`, `beta`.

    Gradient. With d = x - mean, r = (var + eps)^(-1/2), y = gamma r d + beta, h = gamma g:

        directly          dL/dx_i    = r_i h_i
        by the mean       dL/dmean_i = -r_i h_i = a_i
        by the variance   dL/dvar_i  = -1/2 r_i^3 d_i h_i = b_i

    An element x_j enters mu_k of all i in its set S with 1/m and var_k with 2 (x_j - mu_k) / m:

        dL/dx_j += sum_k  w_k mean over S of a  +  w'_k 2 (x_j - mu_k) mean over S of b
        dL/dw_k = sum_i a_i mu_k,i              dL/dw'_k = sum_i b_i var_k,i

    and the two weights pass through softmax.
    """
    x = float64(x)
    return _switch_backward(g, x, _moments(x), mean_weight, var_weight, gamma, beta, eps)


def switch_norm_test(
    x: Any, mean: Any, var: Any, mean_weight: Any, var_weight: Any,
    gamma: Any = None, beta: Any = None, *, eps: float = 1e-5,
) -> Array:  # fmt: skip
    """Switch norm at test time: fixed `mean (C,)` and `var (C,)` for its batch part.

    Formula: as in training, with mean and var in the place of mu_batch and var_batch.

    Source: Luo et al. 2019 (who fix the batch part by batch averages after training).
    """
    x = float64(x)
    d, r = _switched(_moments(x, mean, var), mean_weight, var_weight, eps)
    return affine(r * d, gamma, beta)


def switch_norm_test_backward(
    g: Any, x: Any, mean: Any, var: Any, mean_weight: Any, var_weight: Any,
    gamma: Any = None, beta: Any = None, *, eps: float = 1e-5,
) -> Gradients:  # fmt: skip
    """Gradients of switch norm at test time by `x`, both weights, `gamma` and `beta`.

    Gradient: as in training, but the batch part's moments are constants: they pass nothing on to
    x, while their weights learn as before.
    """
    x = float64(x)
    return _switch_backward(g, x, _moments(x, mean, var), mean_weight, var_weight, gamma, beta, eps)


class _Moments(NamedTuple):
    """x - mu and the variance at every index, over `sets`; no sets: the moments are fixed."""

    sets: Sets | None
    off: Array
    var: Array


def _moments(x: Array, mean: Any = None, var: Any = None) -> list[_Moments]:
    """Those of instance, layer and batch sets; given a mean and var, these are the last."""
    found = []
    for sets in (instance_sets(x.shape), layer_sets(x.shape), batch_sets(x.shape)):
        off = centered(sets, x)
        found.append(_Moments(sets, off, mean_over(sets, off * off)))
    if mean is not None:
        found[2] = _Moments(None, x - by_channel(mean, x), by_channel(var, x) + np.zeros_like(x))
    return found


def _switched(
    moments: list[_Moments], mean_weight: Any, var_weight: Any, eps: float
) -> tuple[Array, Array]:
    """d = x - mean, which is sum_k w_k (x - mu_k) as the weights sum to 1, and r."""
    w, v = softmax(mean_weight), softmax(var_weight)
    d = float64(sum(w[k] * one.off for k, one in enumerate(moments)))
    var = float64(sum(v[k] * one.var for k, one in enumerate(moments)))
    return d, 1 / np.sqrt(var + eps)


def _switch_backward(
    g: Any, x: Array, moments: list[_Moments], mean_weight: Any, var_weight: Any,
    gamma: Any, beta: Any, eps: float,
) -> Gradients:  # fmt: skip
    w, v = softmax(mean_weight), softmax(var_weight)
    d, r = _switched(moments, mean_weight, var_weight, eps)
    h, gradients = affine_backward(float64(g), r * d, gamma, beta)
    a, b = -r * h, -0.5 * r**3 * d * h
    dx, dw, dv = r * h, np.zeros(3), np.zeros(3)
    for k, (sets, off, var) in enumerate(moments):
        dw[k], dv[k] = (a * (x - off)).sum(), (b * var).sum()
        if sets is not None:
            dx = dx + w[k] * mean_over(sets, a) + 2 * v[k] * off * mean_over(sets, b)
    gradients["mean_weight"] = softmax_backward(dw, mean_weight)["x"]
    gradients["var_weight"] = softmax_backward(dv, var_weight)["x"]
    return {"x": dx, **gradients}


# ---- statistics for test time ---------------------------------------------------------


def running_moments(mean: Any, var: Any, x: Any, *, momentum: float = 0.1) -> tuple[Array, Array]:
    """The running `mean (C,)` and `var (C,)` after one more training batch `x (N, C, ...)`.

    Formula: new = (1 - momentum) old + momentum batch, with the unbiased batch variance
    (divided by m - 1, m = N times pixels), as torch does. It forgets: batches long ago, of other
    weights, fade.

    Source: Ioffe & Szegedy 2015, section 3.1.
    """
    mu, unbiased = _channel_moments(float64(x), ddof=1)
    return tuple(
        (1 - momentum) * float64(old) + momentum * new for old, new in ((mean, mu), (var, unbiased))
    )  # type: ignore[return-value]


def population_moments(batches: Iterable[Any]) -> tuple[Array, Array]:
    """The exact `mean (C,)` and biased `var (C,)` of all batches together, read one by one.

    Formula: the law of total variance, batch b having m_b elements a channel, M in all:

        mean = sum_b m_b mu_b / M       var = sum_b m_b (var_b + (mu_b - mean)^2) / M

    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".
    """
    arrays = [float64(b) for b in batches]
    m = np.array([a.size / a.shape[1] for a in arrays])[:, None]
    mu, var = (
        np.stack(z) for z in zip(*(_channel_moments(a, ddof=0) for a in arrays), strict=True)
    )
    mean = (m * mu).sum(0) / m.sum()
    return mean, (m * (var + (mu - mean) ** 2)).sum(0) / m.sum()


def _channel_moments(x: Array, ddof: int) -> tuple[Array, Array]:
    rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    mu = rows.mean(axis=1)
    d = rows - mu[:, None]
    d = d - d.mean(axis=1, keepdims=True)
    return mu, (d * d).sum(axis=1) / (rows.shape[1] - ddof)
