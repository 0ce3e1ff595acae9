"""Convolution and the linear layer: torch's own kernels, which are the best at hand."""

from __future__ import annotations

from torch import nn


class Conv1d(nn.Conv1d):
    """`(N, C_in, L)` to `(N, C_out, M)`, `M = floor((L + 2 pad - dilation (K - 1) - 1) / stride) + 1`.

    Gradients as for `Conv2d`, in one dimension.
    """


class Conv2d(nn.Conv2d):
    """`y[n, o] = b[o] + sum_c w[o, c] * x[n, c]`: `(N, C_in, H, W)` to `(N, C_out, H', W')`.

    `H' = floor((H + 2 pad - dilation (K - 1) - 1) / stride) + 1`. Both gradients are convolutions
    again: dx is g (spread out by the stride) with the filters mirrored, dw is x with g as the
    filter (spread out by the stride, sampled by the dilation). A stride of 2 in place of pooling
    is what All-CNN does. Source: LeCun et al. 1989; Dumoulin & Visin 2016; `visus.reference`
    derives both gradients.
    """


class Linear(nn.Linear):
    """`y = x W^T + b`: `(N, *, in)` to `(N, *, out)`.

    Gradients: `dx = g W`, `dW = g^T x`, `db` the sum of g.
    """


__all__ = ["Conv1d", "Conv2d", "Linear"]
