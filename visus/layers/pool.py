"""Pooling: the largest or the mean of a window."""

from __future__ import annotations

from torch import Tensor, nn

from visus.kernels.pool import max_pool2d


class MaxPool2d(nn.MaxPool2d):
    """The largest of each `kernel_size` window: `(N, C, H, W)` to `(N, C, H', W')`.

    Gradient: to the active connection alone, the first largest of the window. On CPU one byte a
    window is kept for it. Source: Boureau, Ponce & LeCun 2010.
    """

    def forward(self, input: Tensor) -> Tensor:  # with return_indices a pair, as in torch
        if self.return_indices:
            return super().forward(input)  # pyright: ignore[reportReturnType]
        given = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        return max_pool2d(input, *given)


class AvgPool2d(nn.AvgPool2d):
    """The mean of each window: `(N, C, H, W)` to `(N, C, H', W')`. Gradient: g / K to each."""


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of windows that divide the image into `output_size` parts."""


__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d"]
