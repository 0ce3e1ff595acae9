"""Sick, healthy and cured programs for `norm-batch-too-small`: batch normalization over two samples."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn


def program(size, norm=nn.BatchNorm1d):
    x, y, *_ = digits()
    fit(mlp(64, 64, 10, norm=norm), x, y, size=size)


def sick():
    program(2)


def healthy():
    program(2, norm=nn.LayerNorm)


def cured():
    program(32)
