"""Sick, healthy and cured programs for `activation-saturated`: biases that push tanh to its flat ends."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn, torch


def program(bias):
    x, y, *_ = digits()
    model = mlp(64, 64, 64, 10, act=nn.Tanh)
    nn.init.constant_(model[0].bias, bias)
    nn.init.constant_(model[2].bias, -bias)
    fit(model, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


def sick():
    program(6.0)


def healthy():
    program(0.3)


def cured():
    program(0.0)
