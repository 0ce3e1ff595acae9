"""Sick, healthy and cured programs for `loss-not-finite`: the logarithm of pixels that are zero."""

from __future__ import annotations

from clinic import digits, fit, healthy_digits, mlp, nn

healthy = healthy_digits


class Log(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.net, self.eps = mlp(64, 64, 10), eps

    def forward(self, x):
        return self.net((x + self.eps).log())


def sick():
    x, y, *_ = digits()
    fit(Log(0.0), x, y, steps=60)


def cured():
    x, y, *_ = digits()
    fit(Log(0.3), x, y, steps=60)
