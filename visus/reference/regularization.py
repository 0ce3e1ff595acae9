"""Regularization: penalties on the weights, and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.arrays import Array, Gradients, float64


def l2_penalty(x: Any, *, strength: float = 1.0) -> Array:
    """Half the squared length of the weights `x` (any shape), times `strength`.

    Formula: y = strength / 2 * sum of x^2, the logarithm of a normal prior. Plain gradient
    descent with it is weight decay: x <- (1 - rate * strength) x - rate * (rest).

    Source: Krogh & Hertz 1992, "A simple weight decay can improve generalization".
    """
    x = float64(x)
    return float64(strength / 2 * (x * x).sum())


def l2_penalty_backward(g: Any, x: Any, *, strength: float = 1.0) -> Gradients:
    """Gradient of the L2 penalty.

    Gradient: dy/dx = strength * x. Large weights shrink fast, small ones hardly: none gets 0.
    """
    return {"x": float64(g) * strength * float64(x)}


def l1_penalty(x: Any, *, strength: float = 1.0) -> Array:
    """The sum of absolute weights `x` (any shape), times `strength`.

    Formula: y = strength * sum of |x|, the logarithm of a Laplacian prior.

    Source: Tibshirani 1996, "Regression shrinkage and selection via the lasso".
    """
    return float64(strength * np.abs(float64(x)).sum())


def l1_penalty_backward(g: Any, x: Any, *, strength: float = 1.0) -> Gradients:
    """Gradient of the L1 penalty.

    Gradient: dy/dx = strength * sign(x), 0 at 0. All weights shrink alike: many become 0.
    """
    return {"x": float64(g) * strength * np.sign(float64(x))}


def dropout(x: Any, mask: Any, *, rate: float = 0.5) -> Array:
    """Dropout in training: `x` (any shape) where `mask` is 1, scaled; 0 where it is 0.

    Formula: y = x mask / (1 - rate), with mask 1 with probability 1 - rate, so that the mean
    of y is x and nothing is to be done at test time. A mask `(N, C, 1, 1)` drops whole planes.

    Source: Srivastava et al. 2014, sections 4 and 10 (inverted: scaled in training).
    """
    return float64(x) * _factor(mask, rate)


def dropout_backward(g: Any, x: Any, mask: Any, *, rate: float = 0.5) -> Gradients:
    """Gradient of dropout.

    Gradient: y is x times a constant, so dL/dx = g mask / (1 - rate): dropped units get none.
    """
    return {"x": float64(g) * np.broadcast_to(_factor(mask, rate), np.shape(x))}


def _factor(mask: Any, rate: float) -> Array:
    if not 0 <= rate <= 1:
        raise UsageError(f"dropout: rate {rate} is no probability; give one from 0 to 1")
    return float64(mask) / (1 - rate) if rate < 1 else np.zeros(np.shape(mask))
