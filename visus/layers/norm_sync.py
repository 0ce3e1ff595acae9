"""SyncBatchNorm: the moments of all ranks, merged by one all-reduce of N x C sums."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from visus.kernels.normalize import Algebra, Tensors, made, normalize
from visus.layers.norm_act import Act, parse
from visus.layers.norm_algebra import _affine
from visus.layers.norm_batch import _Batch, moments_of


class _Sum(torch.autograd.Function):
    """The sum over the ranks; its gradient is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        x = x.clone()
        dist.all_reduce(x, group=group)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return _Sum.apply(g.contiguous(), ctx.group), None


class Synced(Algebra):
    """Batch norm over all ranks: spec (eps, name of the process group); tensors weight, bias."""

    observes = 2

    def plane(
        self, mean: Tensor, var: Tensor, size: int, tensors: Tensors
    ) -> tuple[Tensor, Tensor]:
        mu, v, _ = self._all(mean, var, size)
        inverse = torch.rsqrt(v + self.spec[0]).expand_as(mean)
        return _affine(inverse, (mean - mu) * inverse, *tensors)

    def _all(self, mean: Tensor, var: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        # Two rounds: the sums of squares are taken about the common mean, never about zero.
        group = dist.distributed_c10d._resolve_process_group(self.spec[1])
        count = mean.new_full((1,), float(mean.shape[0] * size))
        merged = _Sum.apply(torch.cat([mean.sum(0) * size, count]), group)
        total = merged[-1].detach()
        mu = merged[:-1] / total
        v = _Sum.apply((var + (mean - mu).square()).sum(0) * size, group) / total
        return mu, v, total

    def observe(self, mean: Tensor, var: Tensor, size: int) -> list[Tensor]:
        with torch.no_grad():
            mu, v, total = self._all(mean, var, size)
        return [mu, v * (total / (total - 1).clamp(min=1))]


class SyncBatchNorm(_Batch, nn.SyncBatchNorm):
    """Batch norm of `x (N, C, *)` over the batches of all ranks; on one rank, plain batch norm.

    Plane moments are merged over the ranks, so that batches of different sizes and an empty one
    are fine, on CPU (gloo) as on GPUs. `convert_sync_batchnorm` gives this class.

    Source: Ioffe & Szegedy 2015, algorithm 1, with S_i over the ranks too.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any = None, device: Any = None,
        dtype: Any = None, *, act: Act = None, **more: Any,
    ):  # fmt: skip
        nn.SyncBatchNorm.__init__(
            self, num_features, eps, momentum, affine, track_running_stats, process_group, device, dtype, **more
        )  # fmt: skip
        self.act = act
        parse(act)

    def forward(self, input: Tensor) -> Tensor:
        group = self._group()
        if group is None:
            return super().forward(input)
        self._check_input_dim(input)
        self._check_non_zero_input_channels(input)
        act, alpha, after = parse(self.act)
        running, _ = moments_of(self)
        y = normalize(
            input, made(Synced, self.eps, group), [self.weight, self.bias], act, alpha, running
        )
        return y if after is None else after(y)

    def _group(self) -> str | None:
        """The name of the process group to merge over, or None where there is nothing to merge."""
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return None
        group = self.process_group or dist.group.WORLD
        return None if group is None or dist.get_world_size(group) < 2 else group.group_name
