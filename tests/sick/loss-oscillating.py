"""Sick, healthy and cured programs for `loss-oscillating`: single samples and heavy momentum."""

from __future__ import annotations

from clinic import F, fit, healthy_digits, mlp, numbers, torch

healthy = healthy_digits


def program(rate, momentum):
    x, y = numbers()
    model = mlp(8, 64, 64, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    fit(model, x, y, loss=F.mse_loss, optimizer=optimizer, steps=250)


def sick():
    program(0.06, 0.98)


def cured():
    program(0.02, 0.9)
