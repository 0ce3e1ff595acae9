"""Sick, healthy and cured programs for `input-not-normalized`: raw pixels of 0 to 255."""

from __future__ import annotations

from clinic import digits, fit, healthy_digits, mlp

healthy = healthy_digits


def program(scale):
    x, y, *_ = digits()
    fit(mlp(64, 64, 10), x * scale, y)


def sick():
    program(255)


def cured():
    program(1)
