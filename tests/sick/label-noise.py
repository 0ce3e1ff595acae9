"""Sick, healthy and cured programs for `label-noise`: images and labels permuted apart."""

from __future__ import annotations

import torch
from clinic import digits, fit, healthy_digits, mlp

healthy = healthy_digits


def program(apart):
    x, y, *_ = digits()
    if apart:
        y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    fit(mlp(64, 128, 10), x, y, steps=200)


def sick():
    program(True)


def cured():
    program(False)
