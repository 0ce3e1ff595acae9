"""GroupNorm, LayerNorm and LayerNorm2d: moments within one sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visus.kernels.normalize import Tensors, made, normalize
from visus.kernels.rows import Pixels, Rows
from visus.layers.norm_act import Act, Activated, activate, checked, parse
from visus.layers.norm_algebra import Groups
from visus.layers.norm_batch import ours


class GroupNorm(Activated, nn.GroupNorm):
    """Group norm of `x (N, C, *)`, as torch.nn's.

    y = act(gamma (x - mu) / sqrt(var + eps) + beta), with moments over the pixels and the
    channels of one group in one sample: S_i = { k : k_N = i_N, group(k_C) = group(i_C) }.

    Source: Wu & He 2018, equation 7.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None, *, act: Act = None, **more: Any,
    ):  # fmt: skip
        super().__init__(num_groups, num_channels, eps, affine, device, dtype, **more)
        self.act = checked(act)

    def forward(self, input: Tensor) -> Tensor:
        fits = input.dim() > 1 and input.shape[1] == self.num_channels and ours(input)
        if not fits or input.numel() == input.shape[0] * self.num_groups:
            return activate(super().forward(input), self.act)
        act, alpha, after = parse(self.act)
        algebra = made(Groups, self.eps, self.num_groups)
        y = normalize(input, algebra, [self.weight, self.bias], act, alpha, None, True)
        return y if after is None else after(y)


class LayerNorm(Activated, nn.LayerNorm):
    """Layer norm over the last axes of `x (..., *normalized_shape)`, as torch.nn's.

    y = act(gamma (x - mu) / sqrt(var + eps) + beta), moments over `normalized_shape`, and gamma
    and beta of that shape; with (C, H, W) it is S_i = { k : k_N = i_N }. Channels-last input
    stays channels-last.

    Source: Ba, Kiros & Hinton 2016, equation 3.
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None, *, act: Act = None,
    ):  # fmt: skip
        super().__init__(normalized_shape, eps, elementwise_affine, bias, device, dtype)
        self.act = checked(act)

    def forward(self, input: Tensor) -> Tensor:
        shape = tuple(self.normalized_shape)
        if tuple(input.shape[input.dim() - len(shape) :]) != shape or not ours(input):
            return activate(super().forward(input), self.act)
        act, alpha, after = parse(self.act)
        algebra = made(Rows, self.eps, len(shape))
        y = normalize(input, algebra, [self.weight, self.bias], act, alpha, None, True)
        return y if after is None else after(y)


class LayerNorm2d(Activated, nn.Module):
    """Layer norm over the channels of each pixel of `x (N, C, H, W)`, in the layout of x.

    y = act(gamma (x - mu) / sqrt(var + eps) + beta), S_i = { k : k_N = i_N, pixel k = pixel i };
    `weight` and `bias` are `(C,)`. What ConvNeXt writes as permute, LayerNorm, permute.

    Source: Liu et al. 2022, "A ConvNet for the 2020s", section 2.6.
    """

    def __init__(
        self, num_channels: int, eps: float = 1e-6, affine: bool = True, *, act: Act = None,
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.num_channels, self.eps, self.affine = num_channels, eps, affine
        made = [torch.empty(num_channels, device=device, dtype=dtype) for _ in range(2 * affine)]
        self.weight, self.bias = map(nn.Parameter, made) if affine else (None, None)
        self.reset_parameters()
        self.act = checked(act)

    def reset_parameters(self) -> None:
        """gamma = 1, beta = 0."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        shown = f"{self.num_channels}, eps={self.eps}, affine={self.affine}"
        return shown if self.act is None else f"{shown}, act={self.act!r}"

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() < 2 or input.shape[1] != self.num_channels:
            raise ValueError(
                f"LayerNorm2d: expected (N, {self.num_channels}, H, W), got {tuple(input.shape)}"
            )
        act, alpha, after = parse(self.act)
        algebra = made(Pixels, self.eps)
        tensors: Tensors = [self.weight, self.bias]
        if ours(input):
            y = normalize(input, algebra, tensors, act, alpha, None, True)
        else:
            y = algebra.differentiable(input, tensors, act, alpha)
        return y if after is None else after(y)
