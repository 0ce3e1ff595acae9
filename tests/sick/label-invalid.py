"""Sick, healthy and cured programs for `label-invalid`: labels in {1, 2} where a loss of two classes expects {0, 1}."""

from __future__ import annotations

from clinic import F, fit, healthy_digits, mlp, numbers

healthy = healthy_digits


def program(offset):
    x, y = numbers()
    labels = (y > 0).float() + offset
    fit(mlp(8, 32, 1), x, labels, loss=F.binary_cross_entropy_with_logits)


def sick():
    program(1.0)


def cured():
    program(0.0)
