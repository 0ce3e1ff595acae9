"""Every normalization layer, and the recipe's table of them.

One sentence with another index set (see `visus.layers.norm_algebra`); each class takes `act=` to
compute the activation in the same pass, and keeps one tensor for backward.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from visus.family import Family
from visus.layers.norm_act import Act, checked
from visus.layers.norm_batch import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from visus.layers.norm_group import GroupNorm, LayerNorm, LayerNorm2d
from visus.layers.norm_mixed import (
    BatchInstanceNorm1d,
    BatchInstanceNorm2d,
    BatchInstanceNorm3d,
    SwitchNorm2d,
    parameter_groups,
)
from visus.layers.norm_sync import SyncBatchNorm
from visus.layers.recalibrate import recalibrate

__all__ = [
    "BatchInstanceNorm1d", "BatchInstanceNorm2d", "BatchInstanceNorm3d", "BatchNorm1d", "BatchNorm2d",
    "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm",
    "LayerNorm2d", "SwitchNorm2d", "SyncBatchNorm", "norms", "parameter_groups", "recalibrate",
]  # fmt: skip

norms = Family("norm")


def known(act: Act) -> tuple[Act, nn.Module | None]:
    """`act` for the kernel, or None and the module of the activation table that must follow."""
    from visus.errors import UsageError

    try:
        return checked(act), None
    except UsageError:
        from visus.layers import activations

        return None, activations.make(str(act))


def _with_act(make: Any, act: Act) -> nn.Module:
    fused, after = known(act)
    norm = make(fused)
    return norm if after is None else nn.Sequential(norm, after)


@norms.member
def batch(channels: int, *, act: Act = None, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """BatchNorm2d."""
    return _with_act(lambda a: BatchNorm2d(channels, eps, momentum, act=a), act)


@norms.member
def instance(channels: int, *, act: Act = None, eps: float = 1e-5) -> nn.Module:
    """InstanceNorm2d with gamma and beta."""
    return _with_act(lambda a: InstanceNorm2d(channels, eps, affine=True, act=a), act)


@norms.member
def layer(channels: int, *, act: Act = None, eps: float = 1e-5) -> nn.Module:
    """Over the channels and pixels of a sample, gamma and beta by channel: one group."""
    return _with_act(lambda a: GroupNorm(1, channels, eps, act=a), act)


@norms.member
def group(channels: int, *, act: Act = None, groups: int = 32, eps: float = 1e-5) -> nn.Module:
    """GroupNorm with the largest number of groups that divides both `groups` and the channels."""
    return _with_act(lambda a: GroupNorm(math.gcd(groups, channels), channels, eps, act=a), act)


@norms.member
def batch_instance(
    channels: int, *, act: Act = None, eps: float = 1e-5, momentum: float = 0.1
) -> nn.Module:
    """BatchInstanceNorm2d."""
    return _with_act(lambda a: BatchInstanceNorm2d(channels, eps, momentum, act=a), act)


@norms.member
def switch(
    channels: int, *, act: Act = None, eps: float = 1e-5, momentum: float = 0.1
) -> nn.Module:
    """SwitchNorm2d."""
    return _with_act(lambda a: SwitchNorm2d(channels, eps, momentum, act=a), act)


@norms.member
def none(channels: int, *, act: Act = None) -> nn.Module:
    """No norm: the activation alone."""
    from visus.layers import activations

    return nn.Identity() if act is None else activations.make(str(act))
