"""Sick, healthy and cured programs for `init-too-small`: weights of standard deviation 1e-4."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn, torch


def program(std, norm=None):
    x, y, *_ = digits()
    model = mlp(64, 64, 64, 64, 10, norm=norm)
    for layer in model:
        if std and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)
    fit(model, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


def sick():
    program(1e-4)


def healthy():
    program(1e-2, norm=nn.BatchNorm1d)


def cured():
    program(None)
