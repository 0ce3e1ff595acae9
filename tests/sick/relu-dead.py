"""Sick, healthy and cured programs for `relu-dead`: biases that keep every ReLU off."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn


def program(bias):
    x, y, *_ = digits()
    model = mlp(64, 64, 64, 10)
    nn.init.constant_(model[2].bias, bias)
    fit(model, x, y)


def sick():
    program(-8.0)


def healthy():
    program(-0.2)


def cured():
    program(0.0)
