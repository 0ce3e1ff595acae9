"""Mean and deviation of each channel, exact, from the moments of single planes."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np


def channel_statistics(moments: np.ndarray, pixels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel in units of [0, 1].

    `moments` is int64 `(n, C, 2)`: sum and sum of squares of each plane of `pixels` bytes.
    Whole numbers all the way, so nothing is lost: var = (N * sum x^2 - (sum x)^2) / N^2.
    A channel that never varies has deviation 0.
    """
    count = len(moments) * pixels
    if not count:
        channels = moments.shape[1]
        return [0.0] * channels, [1.0] * channels
    mean, std = [], []
    for total, squares in moments.sum(axis=0).tolist():
        mean.append(float(Fraction(total, count * 255)))
        std.append(sqrt(Fraction(count * squares - total * total, (count * 255) ** 2)))
    return mean, std
