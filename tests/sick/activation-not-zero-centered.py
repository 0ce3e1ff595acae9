"""Sick, healthy and cured programs for `activation-not-zero-centered`: a stack of sigmoids that learns slowly."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn, torch


def program(act, layers=2):
    x, y, *_ = digits()
    model = mlp(64, *[64] * layers, 10, act=act)
    fit(model, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), steps=150)


def sick():
    program(nn.Sigmoid)


def healthy():
    program(nn.ReLU)


def cured():
    program(nn.Tanh)
