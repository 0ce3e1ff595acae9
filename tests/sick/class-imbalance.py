"""Sick, healthy and cured programs for `class-imbalance`: one class in thirty of two, counted alike by the loss."""

from __future__ import annotations

import torch
from clinic import F, fit, mlp, numbers


def program(balanced, quantile=0.96):
    x, y = numbers(2000)
    labels = (y > y.quantile(quantile)).float()
    if balanced:  # draw both classes alike
        rare, usual = labels[:, 0].nonzero()[:, 0], (labels[:, 0] == 0).nonzero()[:, 0]
        g = torch.Generator().manual_seed(0)
        pick = torch.cat([rare[torch.randint(len(rare), (1000,), generator=g)], usual[:1000]])
        x, labels = x[pick], labels[pick]
    fit(mlp(8, 32, 1), x, labels, loss=F.binary_cross_entropy_with_logits, size=64)


def sick():
    program(False)


def healthy():
    program(False, 0.7)


def cured():
    program(True)
