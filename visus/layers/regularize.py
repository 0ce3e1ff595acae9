"""Regularization inside the network and in the loss: dropout, L2 and L1 penalties."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """In training each element becomes 0 with probability p, the others are divided by 1 - p.

    Any shape. Gradient: g where the element was kept, divided by 1 - p. Source: Srivastava et
    al. 2014, section 4 (in the inverted form, so that evaluation does nothing).
    """


class Dropout2d(nn.Dropout2d):
    """Dropout of whole channels of `(N, C, H, W)`. Source: Tompson et al. 2015."""


NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def weights(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters a penalty is for: of two dimensions and more, and not those of a norm."""
    scales = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters(False)}
    return (p for p in model.parameters() if p.ndim > 1 and p.requires_grad and id(p) not in scales)


def l2_penalty(model: nn.Module, strength: float) -> Tensor:
    """`strength / 2 * sum of w^2` over the weights; its gradient is `strength * w`.

    The constant 1/2 makes `strength` the `weight_decay` of torch's SGD.
    """
    return _total([w.square().sum() for w in weights(model)]) * (strength / 2)


def l1_penalty(model: nn.Module, strength: float) -> Tensor:
    """`strength * sum of |w|` over the weights; its subgradient is `strength * sign(w)`."""
    return _total([w.abs().sum() for w in weights(model)]) * strength


def _total(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum() if parts else torch.zeros(())


__all__ = ["Dropout", "Dropout2d", "l1_penalty", "l2_penalty", "weights"]
