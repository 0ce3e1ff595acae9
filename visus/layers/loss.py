"""The losses of the lecture: torch.nn's where torch has them, and the recipe's table.

A loss of the table is called as `loss(outputs, targets)` with outputs `(N, K)` (or per pixel
`(N, K, H, W)`) and targets as class numbers `(N)` or as probabilities / values of the outputs'
shape. All take `weight=`, one factor an element (a sample, a pixel), in the call; the mean is then the
weighted one.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visus.errors import UsageError
from visus.family import Family, Range

losses = Family("loss")


def averaged(values: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """`values` reduced by "mean", "sum" or "none"; with `weight` the weighted mean."""
    factor = fit(weight, values) if weight is not None else None
    values = values if factor is None else values * factor
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.mean() if factor is None else values.sum() / factor.sum()


def fit(weight: Tensor, values: Tensor) -> Tensor:
    """`weight` in the shape of `values`: `(N)` is one factor a sample; raises `UsageError`."""
    wide = weight.reshape(*weight.shape, *[1] * (values.ndim - weight.ndim))
    if weight.ndim > values.ndim or any(
        w not in (1, v) for w, v in zip(wide.shape, values.shape, strict=False)
    ):
        raise UsageError(
            f"loss: weight has shape {tuple(weight.shape)}, the losses {tuple(values.shape)}; "
            "give one factor a sample or one an element"
        )
    return wide.expand_as(values)


def known(reduction: str) -> str:
    """`reduction` if it is one; raises `UsageError`."""
    if reduction not in ("mean", "sum", "none"):
        raise UsageError(f"loss: reduction is '{reduction}'; give mean, sum or none")
    return reduction


@losses.member("cross-entropy")
class CrossEntropyLoss(nn.CrossEntropyLoss):
    """`-sum_k t_k log softmax(z)_k`; class numbers `(N)` or probabilities `(N, K)` as targets.

    Gradient: `dz = (softmax(z) - t) / N`. `weight` of the constructor is by class, as in torch;
    label smoothing e makes t = (1 - e) onehot + e / K. Source: Bishop 2006, eq. 4.108; Szegedy
    et al. 2016, section 7.
    """

    def __init__(
        self, weight: Tensor | None = None, size_average: bool | None = None, ignore_index: int = -100,
        reduce: bool | None = None, reduction: str = "mean",
        label_smoothing: Annotated[float, Range(0.0, 0.2)] = 0.0,
    ):  # fmt: skip
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            return super().forward(input, target)
        values = F.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction="none",
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
        if self.reduction != "mean":
            return averaged(values, weight, self.reduction)
        return (values * fit(weight, values)).sum() / (
            fit(weight, values) * self._share(target)
        ).sum()

    def _share(self, target: Tensor) -> Tensor | float:
        """What one element counts in the mean, as in torch: its class' weight, 0 where ignored."""
        if target.is_floating_point():
            return 1.0
        counts = target != self.ignore_index
        return counts if self.weight is None else counts * self.weight[target.where(counts, 0)]


class NLLLoss(nn.NLLLoss):
    """`-z_t` for log probabilities `z (N, K)` or `(N, K, *)` and class numbers t; torch.nn's.

    Gradient: -1 / N at the true class, 0 elsewhere. With log softmax before it: cross entropy,
    which computes both at once and is what a network's raw outputs want. Not in the recipe's table.
    Source: Bishop 2006, eq. 4.108.
    """


@losses.member("l2")
class MSELoss(nn.MSELoss):
    """`(y - t)^2`. Gradient: `2 (y - t) / n`: an outlier pulls in proportion to its distance."""

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            return super().forward(input, target)
        return averaged(F.mse_loss(input, target, reduction="none"), weight, self.reduction)


@losses.member("l1")
class L1Loss(nn.L1Loss):
    """`|y - t|`. Gradient: `sign(y - t) / n`: an outlier pulls no more than its neighbors."""

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            return super().forward(input, target)
        return averaged(F.l1_loss(input, target, reduction="none"), weight, self.reduction)


@losses.member("smooth-l1")
class SmoothL1Loss(nn.SmoothL1Loss):
    """`d^2 / (2 beta)` for |d| < beta, else `|d| - beta / 2`, with d = y - t.

    Gradient: `d / beta`, clipped to [-1, 1]. Source: Girshick 2015, eq. 3 (beta = 1); Huber 1964.
    """

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
        beta: float = 1.0,
    ):  # fmt: skip
        super().__init__(size_average, reduce, reduction, beta)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        values = F.smooth_l1_loss(input, target, reduction="none", beta=self.beta)
        return averaged(values, weight, self.reduction)


@losses.member("logistic")
class LogisticLoss(nn.Module):
    """`log(1 + exp(-t z))` for labels t = -1, +1; `signed=False` takes labels in [0, 1].

    z and t of one shape, such as `(N)` or `(N, K)`. Gradient: `-t sigmoid(-t z)`; with labels in
    [0, 1] `sigmoid(z) - t`. Computed without overflow for any z. Source: Bishop 2006, eq. 7.47.
    """

    def __init__(self, *, signed: bool = False, reduction: str = "mean"):
        super().__init__()
        self.signed, self.reduction = signed, known(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        target = target.to(input.dtype)
        if self.signed:
            values = F.softplus(-target * input)
        else:
            values = F.binary_cross_entropy_with_logits(input, target, reduction="none")
        return averaged(values, weight, self.reduction)


@losses.member("kl")
class KLLoss(nn.Module):
    """Kullback-Leibler divergence of `softmax(z)` from the target distribution p, both `(N, K, *)`.

    `sum_k p_k (log p_k - log softmax(z)_k)`, with 0 log 0 = 0, averaged over all but K. Gradient:
    `dz = (softmax(z) - p) / N` where p sums to 1. Source: Kullback & Leibler 1951.
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = known(reduction)

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        values = (torch.xlogy(target, target) - target * input.log_softmax(1)).sum(1)
        return averaged(values, weight, self.reduction)


@losses.member("margin-ranking")
class MarginRankingLoss(nn.MarginRankingLoss):
    """`max(0, -t (a - b) + margin)` for pairs of scores a, b and t = +1 where a ranks above b.

    Gradient: `-t` to a and `+t` to b of the pairs that violate the margin. Source: Herbrich,
    Graepel & Obermayer 2000; Joachims 2002.
    """

    def __init__(
        self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ):  # fmt: skip
        super().__init__(margin, size_average, reduce, reduction)

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        values = F.margin_ranking_loss(input1, input2, target, self.margin, reduction="none")
        return averaged(values, weight, self.reduction)


class KLDivLoss(nn.KLDivLoss):
    """torch's form: `t (log t - input)` of log-probabilities `input`, element by element."""


__all__ = [
    "CrossEntropyLoss",
    "KLDivLoss",
    "KLLoss",
    "L1Loss",
    "LogisticLoss",
    "MSELoss",
    "MarginRankingLoss",
    "NLLLoss",
    "SmoothL1Loss",
    "losses",
]  # fmt: skip
