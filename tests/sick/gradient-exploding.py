"""Sick, healthy and cured programs for `gradient-exploding`: a regression on targets of thousands."""

from __future__ import annotations

from clinic import F, fit, mlp, numbers, torch


def program(scale):
    x, y = numbers()
    model = mlp(8, 64, 1)
    fit(
        model,
        x,
        y * scale,
        loss=F.mse_loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        steps=150,
    )


def sick():
    program(3000.0)


def healthy():
    program(2.0)


def cured():
    program(1.0)
