"""Sick, healthy and cured programs for `output-range`: a ReLU at the output of a regression with negative targets."""

from __future__ import annotations

from clinic import F, fit, mlp, nn, numbers


def program(last, shift=0.0):
    x, y = numbers()
    fit(
        nn.Sequential(mlp(8, 64, 1), last()), x, y.abs() if shift else y, loss=F.mse_loss, steps=200
    )


def sick():
    program(nn.ReLU)


def healthy():
    program(nn.Softplus, shift=1.0)


def cured():
    program(nn.Identity)
