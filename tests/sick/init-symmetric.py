"""Sick, healthy and cured programs for `init-symmetric`: all weights of a layer equal."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn


def program(how):
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    if how == "constant":
        nn.init.constant_(model[0].weight, 0.05)
        nn.init.constant_(model[2].weight, 0.05)
    elif how == "zero head":  # the output layer may start at zero
        nn.init.zeros_(model[2].weight)
    fit(model, x, y)


def sick():
    program("constant")


def healthy():
    program("zero head")


def cured():
    program("default")
