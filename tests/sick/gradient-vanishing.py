"""Sick, healthy and cured programs for `gradient-vanishing`: ten layers of sigmoid."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn, torch


def program(act, depth=7, norm=None):
    x, y, *_ = digits()
    model = mlp(64, *[48] * depth, 10, act=act, norm=norm)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight) if act is nn.ReLU else nn.init.xavier_normal_(
                layer.weight
            )
    fit(model, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9))


def sick():
    program(nn.Sigmoid)


def healthy():
    program(nn.Tanh, depth=4)


def cured():
    program(nn.ReLU)
