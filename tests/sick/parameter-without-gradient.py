"""Sick, healthy and cured programs for `parameter-without-gradient`: a detach in the middle of the network."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn


class Net(nn.Module):
    def __init__(self, cut, frozen=False):
        super().__init__()
        self.body, self.head, self.cut = mlp(64, 64), mlp(64, 10), cut
        self.body.requires_grad_(not frozen)

    def forward(self, x):
        x = self.body(x).relu()
        return self.head(x.detach() if self.cut else x)


def sick():
    x, y, *_ = digits()
    fit(Net(True), x, y)


def healthy():
    x, y, *_ = digits()
    fit(Net(False, frozen=True), x, y)


def cured():
    x, y, *_ = digits()
    fit(Net(False), x, y)
