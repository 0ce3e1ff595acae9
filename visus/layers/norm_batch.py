"""BatchNorm1d/2d/3d and InstanceNorm1d/2d/3d: torch.nn's classes on plane kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import visus.kernels.compiled  # noqa: F401  registers what torch.compile sees
from visus.kernels.normalize import FLOATS, exporting, made, normalize, watched
from visus.layers.norm_act import Act, Activated, activate, checked, parse
from visus.layers.norm_algebra import Mixture


def mixture(eps: float, gate: float | None) -> Mixture:
    """The algebra of batch (gate 1), instance (0) or gated (None) norm; one object for each."""
    return made(Mixture, eps, gate)


def ours(x: Tensor) -> bool:
    """Whether the kernels take `x (N, C, *)`; else torch.nn's own code runs, or refuses."""
    if exporting() or x.dtype not in FLOATS or x.numel() == 0:
        return False
    return torch.compiler.is_compiling() or not watched(x)


class _Batch(Activated):
    """Batch normalization: each channel over the whole batch.

    y = act(gamma (x - mu) / sqrt(var + eps) + beta) for `x (N, C, *)`, with moments over
    S_i = { k : k_C = i_C } in training, running moments in eval mode. Parameters, buffers,
    `state_dict` keys and errors are torch.nn's; `act` is one of "relu", "leaky-relu", "elu",
    "sigmoid", "tanh" (fused), "silu", "gelu", or (name, alpha).

    Source: Ioffe & Szegedy 2015, algorithm 1.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
        act: Act = None, **more: Any,
    ):  # fmt: skip
        super().__init__(
            num_features,  # pyright: ignore[reportCallIssue]
            eps,
            momentum,
            affine,
            track_running_stats,
            device,
            dtype,
            **more,
        )
        self.act = checked(act)

    def forward(self: Any, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if not self._takes(input):
            return activate(super().forward(input), self.act)  # type: ignore[misc]
        act, alpha, after = parse(self.act)
        running, fixed = moments_of(self)
        tensors = [self.weight, self.bias, *self._gate(), *fixed]
        y = normalize(input, self._algebra(), tensors, act, alpha, running, True)
        return y if after is None else after(y)

    def _takes(self: Any, x: Tensor) -> bool:
        # torch refuses one value a channel and eps <= 0, and says so best itself.
        refused = self.training and (x.numel() == x.shape[1] or self.eps <= 0)
        return x.shape[1] == self.num_features and not refused and ours(x)

    def _gate(self) -> tuple[Tensor | None]:
        return (None,)

    def _algebra(self: Any) -> Mixture:
        return mixture(self.eps, 1.0)


def moments_of(module: Any) -> tuple[Any, tuple[Tensor | None, Tensor | None]]:
    """What to update in training, and the fixed mean and var of eval mode, as torch decides it."""
    kept = module._buffers  # a step through nn.Module for each costs more than small layers have
    mean, var = kept.get("running_mean"), kept.get("running_var")
    if not module.training:
        return None, (mean, var)
    if not module.track_running_stats or mean is None:
        return None, (None, None)
    factor, count = module.momentum, kept.get("num_batches_tracked")
    if count is not None:
        count.add_(1)
        if factor is None:
            factor = 1.0 / float(count)
    return (mean, var, factor or 0.0), (None, None)


class BatchNorm1d(_Batch, nn.BatchNorm1d):
    __doc__ = _Batch.__doc__


class BatchNorm2d(_Batch, nn.BatchNorm2d):
    __doc__ = _Batch.__doc__


class BatchNorm3d(_Batch, nn.BatchNorm3d):
    __doc__ = _Batch.__doc__


class _Instance(Activated):
    """Instance normalization: each channel of each sample over its own pixels.

    y = act(gamma (x - mu) / sqrt(var + eps) + beta) for `x (N, C, *)` or `(C, *)`, with moments
    over S_i = { k : k_C = i_C, k_N = i_N }; with `track_running_stats` running moments in eval
    mode. Parameters, buffers, `state_dict` keys and errors are torch.nn's.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, equation 4.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *,
        act: Act = None, **more: Any,
    ):  # fmt: skip
        super().__init__(
            num_features,  # pyright: ignore[reportCallIssue]
            eps,
            momentum,
            affine,
            track_running_stats,
            device,
            dtype,
            **more,
        )
        self.act = checked(act)

    def forward(self: Any, input: Tensor) -> Tensor:
        y = super().forward(input)  # type: ignore[misc]
        _, _, after = parse(self.act)
        return y if after is None else after(y)

    def _apply_instance_norm(self: Any, input: Tensor) -> Tensor:
        """torch.nn's forward ends here, all checks done."""
        act, alpha, _ = parse(self.act)
        own = self.training or not self.track_running_stats
        alone = own and input.numel() == input.shape[0] * input.shape[1]
        if alone or not ours(input) or (self.affine and input.shape[1] != self.num_features):
            y = super()._apply_instance_norm(input)  # type: ignore[misc]
            return activate(y, None if parse(self.act)[2] else self.act)
        tracked = self.running_mean is not None
        running = (
            (self.running_mean, self.running_var, self.momentum or 0.0) if own and tracked else None
        )
        fixed = (None, None) if own else (self.running_mean, self.running_var)
        algebra = mixture(self.eps, 0.0 if own else 1.0)
        return normalize(
            input, algebra, [self.weight, self.bias, None, *fixed], act, alpha, running, True
        )


class InstanceNorm1d(_Instance, nn.InstanceNorm1d):
    __doc__ = _Instance.__doc__


class InstanceNorm2d(_Instance, nn.InstanceNorm2d):
    __doc__ = _Instance.__doc__


class InstanceNorm3d(_Instance, nn.InstanceNorm3d):
    __doc__ = _Instance.__doc__
