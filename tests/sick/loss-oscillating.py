"""Sick, healthy and cured programs for `loss-oscillating`: momentum that swings from wall to wall."""

from __future__ import annotations

from clinic import F, fit, healthy_digits, mlp, numbers, torch

healthy = healthy_digits


def program(rate, momentum):
    x, y = numbers(features=32)
    x = x * torch.linspace(0.2, 3, 32)
    model = mlp(32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    fit(model, x, x @ torch.ones(32, 1) / 8 + y, loss=F.mse_loss, optimizer=optimizer, steps=250)


def sick():
    program(0.003, 0.99)


def cured():
    program(0.01, 0.5)
