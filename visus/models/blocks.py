"""The pieces that the networks share: convolution with its norm and activation, the head."""

from __future__ import annotations

from torch import Tensor, nn

from visus.layers import Conv2d, Dropout, Linear, norms


class ConvNorm(nn.Sequential):
    """Convolution, optional 2x2 max-pool, then norm and activation in one fused layer.

    `(N, cin, H, W)` to `(N, cout, H', W')`. Pooling stands before the norm: the norm then
    writes a quarter of the pixels. The bias is left out where the norm subtracts the mean.
    """

    def __init__(
        self, cin: int, cout: int, *, kernel: int = 3, stride: int = 1, pool: nn.Module | None = None,
        norm: str = "batch", activation: str = "relu",
    ):  # fmt: skip
        conv = Conv2d(cin, cout, kernel, stride, kernel // 2, bias=norm == "none")
        after = [pool] if pool is not None else []
        super().__init__(conv, *after, norms.make(norm, cout, act=activation))


class Head(nn.Module):
    """Global average over the pixels, dropout, linear: `(N, C, H, W)` to `(N, classes)`."""

    def __init__(self, channels: int, classes: int, dropout: float = 0.0):
        super().__init__()
        self.dropout, self.linear = Dropout(dropout), Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x.mean((2, 3))))
