"""Atrous spatial pyramid pooling: the same image seen through windows of several widths."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from visus.errors import UsageError
from visus.layers.convolution import Conv2d
from visus.layers.norm import norms
from visus.layers.regularize import Dropout


class ASPP(nn.Module):
    """`(N, C, H, W)` to `(N, out, H, W)`: a 1x1 branch, one 3x3 branch a rate, image pooling.

    Each branch is convolution, norm, activation; a 1x1 projection joins them. The projection of a
    concatenation is the sum of a projection a branch, `W [b1; b2; ...] = W1 b1 + W2 b2 + ...`, so
    the branches are added up one by one and the wide concatenation never exists. A rate r sees a
    window of 2 r + 1. Source: Chen et al. 2017 (DeepLabv3), section 3.3.
    """

    def __init__(
        self, channels: int, out: int = 256, rates: Sequence[int] = (6, 12, 18), *,
        norm: str = "batch", activation: str = "relu", dropout: float = 0.0, pooling: bool = True,
    ):  # fmt: skip
        super().__init__()
        if not rates or not all(isinstance(r, int) and r >= 1 for r in rates):
            raise UsageError(f"aspp: rates are {tuple(rates)}; give whole numbers from 1")
        bias = norm == "none"
        convs = [Conv2d(channels, out, 1, bias=bias)]
        convs += [Conv2d(channels, out, 3, padding=r, dilation=r, bias=bias) for r in rates]
        self.branches = nn.ModuleList(
            nn.Sequential(conv, norms.make(norm, out, act=activation)) for conv in convs
        )
        # One value a channel has no spread of its own: the pooled branch takes no instance statistics.
        self.pooled = nn.Sequential(Conv2d(channels, out, 1), nn.ReLU()) if pooling else None
        count = len(convs) + bool(pooling)
        self.projections = nn.ModuleList(Conv2d(out, out, 1, bias=False) for _ in range(count))
        self.norm, self.dropout = norms.make(norm, out, act=activation), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        total = None
        for branch, project in zip(self.branches, self.projections, strict=False):
            part = project(branch(x))
            total = part if total is None else total + part
        assert total is not None
        if self.pooled is not None:
            total = total + self.projections[-1](self.pooled(x.mean((2, 3), keepdim=True)))
        return self.dropout(self.norm(total))


__all__ = ["ASPP"]
