"""Losses: how wrong an output `x` is, as one number.

All take `reduction`: "none" gives the loss of each element, "sum" their sum, "mean" (the default)
their mean. `weight` of the regression losses is a factor for each element; their mean is then
sum(weight * loss) / sum(weight). The gradient by `x` follows from `g = dL/dy`, a number (or an array,
with "none"); where the loss depends on a difference, the target's gradient is its negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.activation import sigmoid
from visus.reference.arrays import Array, Gradients, float64
from visus.reference.linear import log_softmax, softmax


def reduce(each: Array, weight: Any, reduction: str) -> Array:
    """Weigh the losses of all elements, then keep, add or average them."""
    w = np.broadcast_to(1.0 if weight is None else float64(weight), each.shape)
    return float64(
        (w * each).sum() / w.sum() if reduction == "mean" else _kept(w * each, reduction)
    )


def reduce_backward(g: Any, shape: tuple[int, ...], weight: Any, reduction: str) -> Array:
    """dL/d(loss of each element): weight * g, divided by the sum of weights for the mean."""
    w = np.broadcast_to(1.0 if weight is None else float64(weight), shape)
    return float64(g) * w / (w.sum() if reduction == "mean" else 1)


def _kept(each: Array, reduction: str) -> Array:
    if reduction not in ("none", "sum"):
        raise UsageError(f"reduction: '{reduction}' is unknown; give none, sum or mean")
    return each if reduction == "none" else each.sum()


def _difference(g: Any, slope: Array, weight: Any, reduction: str) -> Gradients:
    dx = reduce_backward(g, slope.shape, weight, reduction) * slope
    return {"x": dx, "target": -dx}


# ---- regression -----------------------------------------------------------------------


def l2(x: Any, target: Any, *, weight: Any = None, reduction: str = "mean") -> Array:
    """Squared error of `x` and `target` of one shape.

    Formula: l = (x - t)^2, without a factor 1/2 (torch's MSELoss).

    Source: Legendre 1805; the likelihood of normal noise.
    """
    d = float64(x) - float64(target)
    return reduce(d * d, weight, reduction)


def l2_backward(
    g: Any, x: Any, target: Any, *, weight: Any = None, reduction: str = "mean"
) -> Gradients:
    """Gradient of the squared error.

    Gradient: dl/dx = 2 (x - t): grows with the error, so a single outlier can rule a step.
    """
    return _difference(g, 2 * (float64(x) - float64(target)), weight, reduction)


def l1(x: Any, target: Any, *, weight: Any = None, reduction: str = "mean") -> Array:
    """Absolute error of `x` and `target` of one shape.

    Formula: l = |x - t|.

    Source: Boscovich 1757; the likelihood of Laplacian noise.
    """
    return reduce(np.abs(float64(x) - float64(target)), weight, reduction)


def l1_backward(
    g: Any, x: Any, target: Any, *, weight: Any = None, reduction: str = "mean"
) -> Gradients:
    """Gradient of the absolute error.

    Gradient: dl/dx = sign(x - t), and 0 at the kink: the same for small and large errors.
    """
    return _difference(g, np.sign(float64(x) - float64(target)), weight, reduction)


def smooth_l1(
    x: Any, target: Any, *, beta: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Array:
    """Squared error near the target, absolute error far from it; `x`, `target` of one shape.

    Formula: with d = x - t,  l = d^2 / (2 beta) where |d| < beta, else |d| - beta / 2.
    beta = 0 is the absolute error.

    Source: Girshick 2015, "Fast R-CNN", equation 3; Huber 1964 (which is beta times this).
    """
    d = np.abs(float64(x) - float64(target))
    if beta == 0:
        return reduce(d, weight, reduction)
    return reduce(np.where(d < beta, d * d / (2 * beta), d - beta / 2), weight, reduction)


def smooth_l1_backward(
    g: Any, x: Any, target: Any, *, beta: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Gradients:
    """Gradient of smooth L1.

    Gradient: dl/dx = d / beta where |d| < beta, else sign(d). The two meet at |d| = beta.
    """
    d = float64(x) - float64(target)
    slope = np.sign(d) if beta == 0 else np.clip(d / beta, -1, 1)
    return _difference(g, slope, weight, reduction)


# ---- classification -------------------------------------------------------------------


def cross_entropy(
    x: Any, target: Any, *, weight: Any = None, ignore_index: int = -100,
    label_smoothing: float = 0.0, reduction: str = "mean",
) -> Array:  # fmt: skip
    """Cross entropy of softmax(x) with the target; `x (N, K)` or `(N, K, ...)` are scores.

    `target` holds class numbers `(N, ...)` (those equal to `ignore_index` do not count) or
    probabilities of the shape of `x`. `weight (K,)` is a factor for each class.

    Formula: l = -sum over k of  weight_k q_k log p_k, with p = softmax(x) over the classes and
    q = (1 - label_smoothing) onehot(target) + label_smoothing / K. The mean divides by the sum of
    weight[target] over what counts; for probabilities, by the number of targets.

    Source: Bridle 1990; label smoothing: Szegedy et al. 2016, section 7; reductions are torch's.
    """
    x = float64(x)
    q, share = _wanted(x, target, weight, ignore_index, label_smoothing, reduction)
    log_p = log_softmax(x, axis=1)
    # 0 log 0 is 0: a class that is not wanted does not count, however unlikely it is.
    each = -np.where(q == 0, 0.0, q * np.where(q == 0, 0.0, log_p)).sum(axis=1) / share
    return each if reduction == "none" else float64(each.sum())


def cross_entropy_backward(
    g: Any, x: Any, target: Any, *, weight: Any = None, ignore_index: int = -100,
    label_smoothing: float = 0.0, reduction: str = "mean",
) -> Gradients:  # fmt: skip
    """Gradient of cross entropy by the scores `x`.

    Gradient. l = -sum_k a_k log p_k with a = weight q, and dlog p_k/dx_j = 1[k = j] - p_j:

        dl/dx_j = -sum_k a_k (1[k = j] - p_j) = p_j (sum_k a_k) - a_j

    Without weights the a sum to 1: the gradient is p - q, bounded, and does not vanish where the
    answer is wrong, since the logarithm undoes the saturation of softmax.

    Source: Goodfellow, Bengio & Courville 2016, section 6.2.2.3.
    """
    x, g = float64(x), float64(g)
    q, share = _wanted(x, target, weight, ignore_index, label_smoothing, reduction)
    dx = softmax(x, axis=1) * q.sum(axis=1, keepdims=True) - q
    return {"x": dx * (np.expand_dims(g, 1) if g.ndim else g) / share}


def _wanted(
    x: Array, target: Any, weight: Any, ignore: int, smoothing: float, reduction: str
) -> tuple[Array, Any]:
    """a = weight * q of the formula, and what the sum is divided by."""
    if reduction not in ("none", "sum", "mean"):
        raise UsageError(f"reduction: '{reduction}' is unknown; give none, sum or mean")
    classes, target = x.shape[1], np.asarray(target)
    w = np.ones(classes) if weight is None else float64(weight)
    w = w.reshape(1, -1, *[1] * (x.ndim - 2))
    soft = target.dtype.kind == "f"
    counts = np.ones((x.shape[0], 1, *x.shape[2:])) if soft else (target != ignore)[:, None]
    if soft:
        q = float64(target)
    else:
        q = np.where(counts, target[:, None] == np.arange(classes).reshape(w.shape), 0.0)
    total = counts.sum() if soft else (w * q).sum()
    q = w * ((1 - smoothing) * q + smoothing / classes) * counts
    return q, total if reduction == "mean" else 1


def logistic(x: Any, target: Any, *, weight: Any = None, reduction: str = "mean") -> Array:
    """Logistic loss of scores `x` for labels +1 and -1 (`target`, of one shape with `x`).

    Formula: l = log(1 + e^(-t x)), computed as max(0, -t x) + log(1 + e^-|x|).

    Source: Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section
    10.6 (binomial deviance, there with a factor 2 in the exponent).
    """
    margin = float64(target) * float64(x)
    return reduce(np.maximum(0, -margin) + np.log1p(np.exp(-np.abs(margin))), weight, reduction)


def logistic_backward(
    g: Any, x: Any, target: Any, *, weight: Any = None, reduction: str = "mean"
) -> Gradients:
    """Gradient of the logistic loss by the scores `x`.

    Gradient: dl/dx = -t e^(-t x) / (1 + e^(-t x)) = -t sigmoid(-t x): -t where the answer is
    wrong, 0 where it is right by a wide margin.
    """
    t = float64(target)
    slope = -t * sigmoid(-t * float64(x))
    return {"x": reduce_backward(g, slope.shape, weight, reduction) * slope}


def binary_logistic(x: Any, target: Any, *, weight: Any = None, reduction: str = "mean") -> Array:
    """Logistic loss of scores `x` for targets in [0, 1] (labels 0 and 1, or probabilities).

    Formula: l = -t log s(x) - (1 - t) log(1 - s(x)) with s = sigmoid, computed as
    max(0, x) - t x + log(1 + e^-|x|). With labels 2 t - 1 it is `logistic`. The weighted mean divides
    by the number of elements, as torch's BCEWithLogitsLoss does.

    Source: Goodfellow, Bengio & Courville 2016, section 6.2.2.2.
    """
    x, t = float64(x), float64(target)
    each = np.maximum(0, x) - t * x + np.log1p(np.exp(-np.abs(x)))
    return reduce(each if weight is None else each * float64(weight), None, reduction)


def binary_logistic_backward(
    g: Any, x: Any, target: Any, *, weight: Any = None, reduction: str = "mean"
) -> Gradients:
    """Gradient of the logistic loss for targets in [0, 1] by the scores `x`.

    Gradient: log s has the derivative 1 - s, log(1 - s) has -s, so
    dl/dx = -t (1 - s) + (1 - t) s = s - t.
    """
    slope = sigmoid(x) - float64(target)
    slope = slope if weight is None else slope * float64(weight)
    return {"x": reduce_backward(g, slope.shape, None, reduction) * slope}


# ---- distributions and ranks ----------------------------------------------------------


def kl(x: Any, target: Any, *, reduction: str = "mean") -> Array:
    """Divergence of log-probabilities `x` from probabilities `target` of one shape.

    Formula: l = t (log t - x) for each element, 0 where t is 0. Besides "mean" over all
    elements there is "batchmean": the sum divided by N, the divergence of the mathematicians.

    Source: Kullback & Leibler 1951; elements and reductions are torch's KLDivLoss.
    """
    x, t = float64(x), float64(target)
    each = np.where(t > 0, t * (np.log(np.where(t > 0, t, 1.0)) - x), 0.0 * x)
    if reduction == "batchmean":
        return float64(each.sum() / x.shape[0])
    return reduce(each, None, reduction)


def kl_backward(g: Any, x: Any, target: Any, *, reduction: str = "mean") -> Gradients:
    """Gradient of the divergence by the log-probabilities `x`.

    Gradient: dl/dx = -t. (Through log_softmax it becomes p - t, as with cross entropy.)
    """
    t = float64(target)
    if reduction == "batchmean":
        return {"x": -t * float64(g) / t.shape[0]}
    return {"x": -t * reduce_backward(g, t.shape, None, reduction)}


def margin_ranking(
    x: Any, other: Any, target: Any, *, margin: float = 0.0, reduction: str = "mean"
) -> Array:
    """Whether `x` ranks above `other` (target +1) or below (-1) by a margin; all of one shape.

    Formula: l = max(0, -t (x - other) + margin).

    Source: Herbrich, Graepel & Obermayer 2000; torch's MarginRankingLoss.
    """
    short = margin - float64(target) * (float64(x) - float64(other))
    return reduce(np.maximum(0, short), None, reduction)


def margin_ranking_backward(
    g: Any, x: Any, other: Any, target: Any, *, margin: float = 0.0, reduction: str = "mean"
) -> Gradients:
    """Gradient of margin ranking by `x` and `other`.

    Gradient: dl/dx = -t where the margin is missed (l > 0), else 0; by `other` the negative. At
    the kink itself it is -t, as torch has it.
    """
    t = float64(target)
    short = margin - t * (float64(x) - float64(other))
    dx = reduce_backward(g, short.shape, None, reduction) * np.where(short >= 0, -t, 0.0)
    return {"x": dx, "other": -dx}
