"""Sick, healthy and cured programs for `loss-not-finite`: the logarithm of a probability that reaches zero."""

from __future__ import annotations

from clinic import digits, fit, healthy_digits, mlp, torch

healthy = healthy_digits


def program(eps):
    x, y, *_ = digits()
    model = mlp(64, 64, 10)

    def loss(out, target):
        right = (out * 40).softmax(1)[torch.arange(len(target)), target]
        return -(right + eps).log().mean() / 40

    fit(model, x, y, loss=loss, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2))


def sick():
    program(0.0)


def cured():
    program(1e-6)
