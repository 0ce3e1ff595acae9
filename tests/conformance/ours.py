"""The namespace under test: visus.layers, and what it offers under another name.

A suite's class that neither has raises `NotOurs`, which is counted and printed.
"""

from __future__ import annotations

from typing import Any

import torch
from suites import NotOurs

from visus import layers
from visus.reference import linear


class SoftMarginLoss(layers.LogisticLoss):
    """PyTorch's name of the logistic loss for labels -1 and +1."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__(signed=True, reduction=reduction)


class BCEWithLogitsLoss(layers.LogisticLoss):
    """PyTorch's name of the logistic loss for labels in [0, 1]."""

    def __init__(self, *, reduction: str = "mean", weight: Any = None, pos_weight: Any = None):
        if weight is not None or pos_weight is not None:
            raise NotOurs("LogisticLoss takes its weights in forward, not in the constructor")
        super().__init__(signed=False, reduction=reduction)


class _Reference(torch.nn.Module):
    """No layer of its own in visus: served by the NumPy reference, forward only."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.function(x.numpy(), axis=self.dim)).to(x.dtype)


class Softmax(_Reference):
    function = staticmethod(linear.softmax)


class LogSoftmax(_Reference):
    function = staticmethod(linear.log_softmax)


STAND_INS = (SoftMarginLoss, BCEWithLogitsLoss, Softmax, LogSoftmax)


class _Namespace:
    def __init__(self, *stand_ins: type):
        self.named = {cls.__name__: cls for cls in stand_ins}

    def __getattr__(self, name: str) -> Any:
        found = getattr(layers, name, None) or self.named.get(name)
        if found is None:
            raise AttributeError(name)
        return found


forward = _Namespace(*STAND_INS)  # for suites that compare outputs
trained = _Namespace(*STAND_INS[:2])  # for suites that compare gradients too
