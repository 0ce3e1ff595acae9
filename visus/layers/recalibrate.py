"""Exact test-time statistics: the moments of a whole training set, by merged plane moments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from visus import kernels
from visus.kernels.normalize import fine, plane_size


class _Sums:
    """Count, mean and squared deviations `(C,)` of all that was seen, in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.square = 0.0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Merge the moments of a batch (Chan, Golub & LeVeque 1983, equation 2.1)."""
        mean, rest, var = (t.to(fine(x)) for t in kernels.serving(x).moments(x))
        mean = mean + rest
        here = float(x.shape[0] * plane_size(x))
        mu = mean.mean(0)
        square = (var + (mean - mu).square()).mean(0) * here
        total = self.count + here
        delta = mu - self.mean.to(mu.device)
        self.square = (
            self.square.to(mu.device) + square + delta.square() * (self.count * here / total)
        )
        self.mean = self.mean.to(mu.device) + delta * (here / total)
        self.count = total


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    """Replace the running averages of every norm by the moments of all `batches` together.

    The running average forgets: it mixes batches of old weights. Here `model` runs once over
    `batches` (tensors, or tuples whose first is the input), its norms using batch moments as in
    training while everything else is in eval mode; the moments of what each norm was given are
    merged exactly: mean, and variance divided by m - 1 as torch's. Modes are as before afterwards.

    Formula: mean = sum_b m_b mu_b / M, var = sum_b m_b (var_b + (mu_b - mean)^2) / (M - 1).
    """
    tracking = [m for m in model.modules() if _tracks(m)]
    modes = {m: m.training for m in model.modules()}
    found: dict[nn.Module, _Sums] = {m: _Sums() for m in tracking}
    kept = {m: m.momentum for m in tracking}
    handles = [m.register_forward_pre_hook(_reader(found[m])) for m in tracking]
    try:
        model.eval()
        for m in tracking:
            m.train()
            m.momentum = 0.0  # type: ignore[assignment]
        for batch in batches:
            model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for handle in handles:
            handle.remove()
        for m, momentum in kept.items():
            m.momentum = momentum
        for m, training in modes.items():
            m.training = training
    for m, sums in found.items():
        if sums.count:
            m.running_mean.copy_(sums.mean)  # type: ignore[union-attr]
            m.running_var.copy_(sums.square / max(sums.count - 1, 1))  # type: ignore[union-attr]
    return model


def _tracks(module: nn.Module) -> bool:
    batch = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return batch and getattr(module, "running_mean", None) is not None


def _reader(sums: _Sums) -> Any:
    return lambda module, args: sums.add(args[0]) if args[0].numel() else None
