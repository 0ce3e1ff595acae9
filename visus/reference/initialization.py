"""Initialization: weights whose outputs have the variance of their inputs.

The argument. y = sum over i < fan_in of w_i x_i with independent w of mean 0 and variance V:

    Var(y) = fan_in V E[x^2]

so a layer keeps E[x^2] if V = 1 / (fan_in a), where a is the share of E[y^2] that the activation
keeps (1 if linear; 1/2 for ReLU, which zeroes half of a symmetric y). Backward the same sum has
fan_out terms. Weights are `(O, I)` or `(O, I, ...)`: fan_in = I times the kernel's pixels, and
fan_out = O times them. `rng` is a `numpy.random.Generator`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visus.errors import UsageError
from visus.reference.arrays import Array


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight `(O, I, ...)`.

    Formula: fan_in = I * pixels: terms in one output; fan_out = O * pixels: outputs of one input
    (at stride 1).
    """
    if len(shape) < 2:
        raise UsageError(f"fans: shape {tuple(shape)} has one axis; give (O, I) or (O, I, ...)")
    pixels = int(np.prod(shape[2:]))
    return shape[1] * pixels, shape[0] * pixels


def zero(shape: Sequence[int]) -> Array:
    """All weights 0: right for biases, wrong for weights.

    Variance: Var(y) = 0, and equal units get equal gradients, so they stay equal forever (the
    symmetry is never broken); with two such layers all gradients but the last bias' are 0.

    Source: Goodfellow, Bengio & Courville 2016, section 8.4.
    """
    return np.zeros(tuple(shape))


def normal(shape: Sequence[int], rng: np.random.Generator, *, std: float = 0.01) -> Array:
    """Normal weights of one `std` for all layers.

    Variance: each layer multiplies E[x^2] by fan_in std^2 a, so after L layers by its L-th
    power: the signal dies or explodes unless std happens to be 1 / sqrt(fan_in a).

    Source: Krizhevsky et al. 2012, section 5 (std 0.01).
    """
    return std * rng.standard_normal(tuple(shape))


def xavier_std(shape: Sequence[int]) -> float:
    """The standard deviation of Xavier weights.

    Formula: std = sqrt(2 / (fan_in + fan_out)), the compromise of the forward argument
    (V = 1 / fan_in) and the backward one (V = 1 / fan_out).

    Source: Glorot & Bengio 2010, equation 12.
    """
    return float(np.sqrt(2 / sum(fans(shape))))


def xavier(shape: Sequence[int], rng: np.random.Generator, *, uniform: bool = False) -> Array:
    """Weights that keep the variance of linear (or tanh near 0) layers, forward and backward.

    Variance: V = 2 / (fan_in + fan_out); uniform in +-sqrt(3 V) if `uniform`, else normal.

    Source: Glorot & Bengio 2010, equations 12 and 16.
    """
    return _draw(shape, rng, xavier_std(shape), uniform)


def he_std(shape: Sequence[int], *, slope: float = 0.0) -> float:
    """The standard deviation of He weights, for ReLU of the given negative `slope`.

    Formula: std = sqrt(2 / ((1 + slope^2) fan_in)): for symmetric y, leaky ReLU keeps
    (1 + slope^2) / 2 of E[y^2].

    Source: He et al. 2015, equations 10 and 15.
    """
    return float(np.sqrt(2 / ((1 + slope**2) * fans(shape)[0])))


def he(
    shape: Sequence[int], rng: np.random.Generator, *, slope: float = 0.0, uniform: bool = False
) -> Array:
    """Weights that keep E[x^2] through layers with ReLU.

    Variance: V = 2 / ((1 + slope^2) fan_in); uniform in +-sqrt(3 V) if `uniform`, else normal.

    Source: He et al. 2015, "Delving Deep into Rectifiers", section 2.2.
    """
    return _draw(shape, rng, he_std(shape, slope=slope), uniform)


def orthogonal(shape: Sequence[int], rng: np.random.Generator, *, gain: float = 1.0) -> Array:
    """Weights whose rows (or columns, if fewer) are orthogonal, of length `gain`.

    Variance: as a matrix `(O, I * pixels)` it keeps all lengths up to `gain`, not only their
    mean: no direction dies in depth. Q of the QR decomposition of normal numbers, each column
    with the sign of R's diagonal, is uniform among the orthogonal matrices.

    Source: Saxe, McClelland & Ganguli 2014; Mezzadri 2007 for the signs.
    """
    rows, columns = shape[0], int(np.prod(shape[1:]))
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return gain * (q if rows >= columns else q.T).reshape(tuple(shape))


def _draw(shape: Sequence[int], rng: np.random.Generator, std: float, uniform: bool) -> Array:
    if not uniform:
        return std * rng.standard_normal(tuple(shape))
    bound = np.sqrt(3) * std
    return rng.uniform(-bound, bound, tuple(shape))
