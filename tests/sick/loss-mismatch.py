"""Sick, healthy and cured programs for `loss-mismatch`: softmax before cross entropy."""

from __future__ import annotations

from clinic import F, digits, fit, mlp


def program(loss):
    x, y, *_ = digits()
    fit(mlp(64, 64, 10), x, y, loss=loss)


def sick():
    program(lambda out, y: F.cross_entropy(out.softmax(1), y))


def healthy():
    program(lambda out, y: F.nll_loss(out.log_softmax(1), y))


def cured():
    program(F.cross_entropy)
