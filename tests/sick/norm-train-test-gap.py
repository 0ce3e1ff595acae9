"""Sick, healthy and cured programs for `norm-train-test-gap`: running statistics that never move."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn


def program(momentum):
    x, y, *_ = digits()
    model = mlp(64, 64, 64, 10, norm=nn.BatchNorm1d)
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = momentum
    fit(model, x, y, steps=150)


def sick():
    program(0.0)


def healthy():
    program(0.05)


def cured():
    program(0.1)
