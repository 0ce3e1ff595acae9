"""Sick, healthy and cured data for `split-unrepresentative`: validation has other classes than train."""

from __future__ import annotations

import torch
from plots import audited, scenes


def labels(n, share):
    return (torch.arange(n) < share * n).long()


def program(share):
    train, held = scenes(300, seed=1), scenes(150, seed=3)
    return audited(train, scenes(60, seed=2), held, labels(300, 0.5), labels(60, 0.5), labels(150, share))  # fmt: skip


def sick():
    return program(0.9)


def healthy():
    return program(0.5)


def cured():
    """Validation is drawn from train and the old validation alike."""
    return program(0.52)
