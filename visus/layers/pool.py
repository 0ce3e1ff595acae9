"""Pooling: the largest or the mean of a window."""

from __future__ import annotations

from torch import nn


class MaxPool2d(nn.MaxPool2d):
    """The largest of each `kernel_size` window: `(N, C, H, W)` to `(N, C, H', W')`.

    Gradient: to the active connection alone, the first largest of the window.
    """


class AvgPool2d(nn.AvgPool2d):
    """The mean of each window: `(N, C, H, W)` to `(N, C, H', W')`. Gradient: g / K to each."""


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of windows that divide the image into `output_size` parts."""


__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d"]
