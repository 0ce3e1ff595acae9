"""Sick, healthy and cured programs for `not-shuffled`: training data in the order of their classes."""

from __future__ import annotations

from clinic import digits, fit, healthy_digits, mlp

healthy = healthy_digits


def program(shuffle):
    x, y, *_ = digits()
    order = y.argsort(stable=True)
    fit(mlp(64, 64, 10), x[order], y[order], shuffle=shuffle)


def sick():
    program(False)


def cured():
    program(True)
