"""Sick, healthy and cured programs for `init-too-large`: weights of standard deviation 1 with tanh."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn


def program(std, norm=None):
    x, y, *_ = digits()
    model = mlp(64, 64, 64, 10, act=nn.Tanh, norm=norm)
    for layer in list(model)[:-1]:
        if std and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)
    fit(model, x, y)


def sick():
    program(1.5)


def healthy():
    program(1.5, norm=nn.BatchNorm1d)


def cured():
    program(None)
