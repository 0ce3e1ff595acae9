"""Sick, healthy and cured data for `split-leak`: a twentieth of test was copied from train, shifted."""

from __future__ import annotations

import torch
from plots import audited, scenes


def program(copies):
    train, test = scenes(300, seed=1), scenes(100, seed=2)
    if copies:
        test[:5] = torch.roll(train[:5], 1, dims=3)  # shifted by a pixel
        test[5:8] = train[5:8].flip(3)
    return audited(train, test)


def sick():
    return program(True)


def healthy():
    return program(False)


def cured():
    """The copies are left out of train."""
    train, test = scenes(300, seed=1), scenes(100, seed=2)
    test[:5] = torch.roll(train[:5], 1, dims=3)
    return audited(train[8:], test)
