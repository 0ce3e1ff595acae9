"""Sick, healthy and cured programs for `regularization-too-strong`: a weight decay of 1."""

from __future__ import annotations

from clinic import digits, fit, mlp, torch


def program(decay):
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
    fit(model, x, y, optimizer=optimizer)


def sick():
    program(0.5)


def healthy():
    program(1e-3)


def cured():
    program(1e-4)
