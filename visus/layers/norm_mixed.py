"""Norms that mix index sets: BatchInstanceNorm1d/2d/3d (a gate) and SwitchNorm2d (three weights)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from visus.kernels.normalize import made, normalize, watched
from visus.layers.norm_act import Act, parse
from visus.layers.norm_algebra import Switch
from visus.layers.norm_batch import _Batch, mixture, moments_of


def hint(parameter: nn.Parameter) -> None:
    """Mark a gate: ten times the learning rate, no decay (Nam & Kim 2018, section 4.1)."""
    parameter.rate_share, parameter.decays = 10.0, False  # type: ignore[attr-defined]


class _BatchInstance(_Batch):
    """Batch-instance norm of `x (N, C, *)`: a gate rho (C,) in [0, 1] between two norms.

    y = act(gamma (rho xhat_BN + (1 - rho) xhat_IN) + beta), in one pass over the same moments.
    `gate` starts at 1 (batch norm) and is put back into [0, 1] at each forward in training, that
    is after each step. It wants ten times the learning rate and no decay: `parameter_groups`.

    Source: Nam & Kim 2018, "Batch-Instance Normalization", equations 3 and 4.
    """

    gate: nn.Parameter

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, act: Act = None,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, act=act
        )
        self.gate = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
        hint(self.gate)

    def __setstate__(self, state: Any) -> None:  # a copied Parameter loses its attributes
        super().__setstate__(state)  # type: ignore[misc]
        hint(self.gate)

    def reset_parameters(self) -> None:
        """gamma = 1, beta = 0, rho = 1."""
        super().reset_parameters()  # type: ignore[misc]
        if "gate" in self.__dict__.get("_parameters", {}):
            nn.init.ones_(self.gate)

    def forward(self: Any, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if input.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got {input.shape[1]}")
        if self.training and input.numel() == input.shape[1]:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {input.shape}"
            )
        act, alpha, after = parse(self.act)
        running, fixed = moments_of(self)
        tensors = [self.weight, self.bias, self._kept(input), *fixed]
        y = normalize(input, mixture(self.eps, None), tensors, act, alpha, running)
        return y if after is None else after(y)

    def _kept(self: Any, x: Tensor) -> Tensor:
        """The gate in [0, 1]; projected in training, so that it stays free to come back."""
        if torch.compiler.is_compiling() or watched(x) or not self.training:
            return self.gate.clamp(0, 1)
        self.gate.data.clamp_(0, 1)  # not seen by autograd: twice in one step is no error
        return self.gate


class BatchInstanceNorm1d(_BatchInstance, nn.BatchNorm1d):
    __doc__ = _BatchInstance.__doc__


class BatchInstanceNorm2d(_BatchInstance, nn.BatchNorm2d):
    __doc__ = _BatchInstance.__doc__


class BatchInstanceNorm3d(_BatchInstance, nn.BatchNorm3d):
    __doc__ = _BatchInstance.__doc__


class SwitchNorm2d(_Batch, nn.BatchNorm2d):
    """Switch norm of `x (N, C, H, W)`: moments mixed over instance, layer and batch sets.

    y = act(gamma (x - sum_k w_k mu_k) / sqrt(sum_k w'_k var_k + eps) + beta), with softmax weights
    from `mean_weight` and `var_weight` `(3,)` over (instance, layer, batch).

    Source: Luo et al. 2019, "Differentiable Learning-to-Normalize via Switchable Normalization",
    equations 3 to 5.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, act: Act = None,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, act=act
        )
        self.mean_weight = nn.Parameter(torch.ones(3, device=device, dtype=dtype))
        self.var_weight = nn.Parameter(torch.ones(3, device=device, dtype=dtype))

    def forward(self: Any, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if input.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got {input.shape[1]}")
        act, alpha, after = parse(self.act)
        running, fixed = moments_of(self)
        tensors = [self.weight, self.bias, self.mean_weight, self.var_weight, *fixed]
        y = normalize(input, made(Switch, self.eps), tensors, act, alpha, running)
        return y if after is None else after(y)


def parameter_groups(
    model: nn.Module, rate: float, weight_decay: float = 0.0
) -> Iterator[dict[str, Any]]:
    """Groups for an optimizer of torch: gates at ten times `rate`; no decay for them and for vectors."""
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        decays = parameter.ndim > 1 and getattr(parameter, "decays", True)
        share = getattr(parameter, "rate_share", 1.0)
        found.setdefault((share, decays), []).append(parameter)
    for (share, decays), members in found.items():
        yield {"params": members, "lr": share * rate, "weight_decay": weight_decay * decays}
