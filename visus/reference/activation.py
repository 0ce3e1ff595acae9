"""Activations: what a neuron makes of its sum. All act on each element; maxout on k of them.

A gradient at a kink follows torch: 0 for ReLU at 0, the negative branch for leaky ReLU and ELU,
the first of several equal pieces for maxout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.errors import UsageError
from visus.reference.arrays import Array, Gradients, float64


def sigmoid(x: Any) -> Array:
    """Squash `x` (any shape) into (0, 1).

    Formula: y = 1 / (1 + e^-x), computed from e^-|x| so that nothing overflows.

    Source: Rumelhart, Hinton & Williams 1986, equation 2.
    """
    x = float64(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(g: Any, x: Any) -> Gradients:
    """Gradient of sigmoid.

    Gradient: y' = e^-x / (1 + e^-x)^2 = y (1 - y). It is at most 1/4 (at 0) and goes to 0 on both
    sides: a saturated unit does not learn. y is always positive: not zero-centered. 1 - y is
    written as sigmoid(-x), which keeps its digits where y is near 1.
    """
    return {"x": float64(g) * sigmoid(x) * sigmoid(-float64(x))}


def tanh(x: Any) -> Array:
    """Squash `x` (any shape) into (-1, 1), zero-centered.

    Formula: y = (e^x - e^-x) / (e^x + e^-x) = 2 sigmoid(2 x) - 1.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.4.
    """
    return np.tanh(float64(x))


def tanh_backward(g: Any, x: Any) -> Gradients:
    """Gradient of tanh.

    Gradient: y = sinh / cosh, so y' = (cosh^2 - sinh^2) / cosh^2 = 1 - y^2 = 4 s(2x) s(-2x) with
    s = sigmoid (the last form keeps its digits where y is near 1). 1 at 0; it still saturates.
    """
    x = 2 * float64(x)
    return {"x": float64(g) * 4 * sigmoid(x) * sigmoid(-x)}


def relu(x: Any) -> Array:
    """Keep what is positive of `x` (any shape).

    Formula: y = max(0, x).

    Source: Nair & Hinton 2010; Krizhevsky et al. 2012, section 3.1.
    """
    x = float64(x)
    return np.where(x <= 0, 0.0, x)  # this way round, NaN stays NaN


def relu_backward(g: Any, x: Any) -> Gradients:
    """Gradient of ReLU.

    Gradient: y' = 1 where x > 0, else 0 (also at the kink). No saturation on the right; a unit
    that is negative for all samples gets no gradient at all and stays dead.
    """
    return {"x": np.where(float64(x) <= 0, 0.0, float64(g))}


def leaky_relu(x: Any, *, slope: float = 0.01) -> Array:
    """ReLU that lets a little of the negative side through; `x` of any shape.

    Formula: y = x where x > 0, else slope * x.

    Source: Maas, Hannun & Ng 2013, section 2.
    """
    x = float64(x)
    return np.where(x > 0, x, slope * x)


def leaky_relu_backward(g: Any, x: Any, *, slope: float = 0.01) -> Gradients:
    """Gradient of leaky ReLU.

    Gradient: y' = 1 where x > 0, else slope. It is nowhere 0, so no unit dies.
    """
    g = float64(g)
    return {"x": np.where(float64(x) > 0, g, slope * g)}


def elu(x: Any, *, alpha: float = 1.0) -> Array:
    """Linear on the right, saturating at -alpha on the left; `x` of any shape.

    Formula: y = x where x > 0, else alpha (e^x - 1).

    Source: Clevert, Unterthiner & Hochreiter 2016, section 3.
    """
    x = float64(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(g: Any, x: Any, *, alpha: float = 1.0) -> Gradients:
    """Gradient of ELU.

    Gradient: y' = 1 where x > 0, else alpha e^x, which equals y + alpha. For alpha = 1 the two
    branches meet with the same slope, and the mean output is nearer to 0 than that of ReLU.
    """
    x, g = float64(x), float64(g)
    return {"x": np.where(x > 0, g, g * alpha * np.exp(np.minimum(x, 0)))}


def maxout(x: Any, pieces: int) -> Array:
    """The largest of `pieces` neighboring channels: `(N, C * pieces, ...)` to `(N, C, ...)`.

    Formula: y[n, c] = max over j < pieces of  x[n, c * pieces + j]. With linear maps before it, a
    maxout unit is a convex function in `pieces` linear pieces; ReLU and |x| are special cases.

    Source: Goodfellow et al. 2013, "Maxout Networks", section 2.
    """
    return _pieces(x, pieces).max(axis=2)


def maxout_backward(g: Any, x: Any, pieces: int) -> Gradients:
    """Gradient of maxout.

    Gradient: y equals its largest piece, so dy/dx is 1 for that piece and 0 for the others. Among
    equal pieces the first one gets the gradient.
    """
    split = _pieces(x, pieces)
    won = split.argmax(axis=2)[:, :, None]
    dx = np.zeros_like(split)
    np.put_along_axis(dx, won, float64(g)[:, :, None], axis=2)
    return {"x": dx.reshape(np.shape(x))}


def _pieces(x: Any, pieces: int) -> Array:
    x = float64(x)
    if x.ndim < 2 or pieces < 1 or x.shape[1] % pieces:
        raise UsageError(f"maxout: {x.shape} does not split into {pieces} pieces along axis 1")
    return x.reshape(x.shape[0], x.shape[1] // pieces, pieces, *x.shape[2:])
