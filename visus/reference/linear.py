"""The fully connected layer, and softmax, which turns its outputs into probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.reference.arrays import Array, Gradients, float64


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """Every output sees every input: `x (..., I)`, `weight (O, I)`, `bias (O,)` to `(..., O)`.

    Formula: y = x weight^T + bias.

    Source: Rumelhart, Hinton & Williams 1986, equation 1.
    """
    y = float64(x) @ float64(weight).T
    return y if bias is None else y + float64(bias)


def linear_backward(g: Any, x: Any, weight: Any, bias: Any = None) -> Gradients:
    """Gradients of the linear layer by `x`, `weight` and `bias`.

    Gradient. y[n, o] = sum over i of x[n, i] weight[o, i] + bias[o], so

        dL/dx[n, i]      = sum over o of g[n, o] weight[o, i]     = (g weight)[n, i]
        dL/dweight[o, i] = sum over n of g[n, o] x[n, i]          = (g^T x)[o, i]
        dL/dbias[o]      = sum over n of g[n, o]
    """
    g, x, weight = float64(g), float64(x), float64(weight)
    rows = g.reshape(-1, weight.shape[0])
    gradients = {"x": g @ weight, "weight": rows.T @ x.reshape(-1, weight.shape[1])}
    if bias is not None:
        gradients["bias"] = rows.sum(axis=0)
    return gradients


def softmax(x: Any, *, axis: int = -1) -> Array:
    """Probabilities from scores `x` along `axis`; they are positive and sum to 1.

    Formula: y_k = e^x_k / sum over j of e^x_j. Subtracting the largest score first changes
    nothing and keeps the exponentials finite.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network
    outputs".
    """
    return np.exp(log_softmax(x, axis=axis))


def softmax_backward(g: Any, x: Any, *, axis: int = -1) -> Gradients:
    """Gradient of softmax.

    Gradient. dy_k/dx_j = y_k (1[k = j] - y_j), so

        dL/dx_j = sum over k of g_k y_k (1[k = j] - y_j) = y_j (g_j - sum over k of g_k y_k)
    """
    g, y = float64(g), softmax(x, axis=axis)
    return {"x": y * (g - (g * y).sum(axis=axis, keepdims=True))}


def log_softmax(x: Any, *, axis: int = -1) -> Array:
    """The logarithm of softmax along `axis`, exact where the probability would round to 0.

    Formula: y_k = x_k - log(sum over j of e^x_j), the largest score subtracted first.

    Source: Goodfellow, Bengio & Courville 2016, "Deep Learning", section 6.2.2.3.
    """
    x = float64(x)
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def log_softmax_backward(g: Any, x: Any, *, axis: int = -1) -> Gradients:
    """Gradient of the logarithm of softmax.

    Gradient. dy_k/dx_j = 1[k = j] - p_j with p = softmax(x), so
    dL/dx_j = g_j - p_j * (sum over k of g_k).
    """
    g = float64(g)
    return {"x": g - softmax(x, axis=axis) * g.sum(axis=axis, keepdims=True)}
