"""Sick, healthy and cured programs for `gradient-not-zeroed`: zero_grad forgotten."""

from __future__ import annotations

from clinic import F, batches, digits, fit, mlp, torch


def program(zero):
    x, y, *_ = digits()
    fit(mlp(64, 64, 10), x, y, zero=zero)


def sick():
    program(False)


def healthy():
    """Gradients of four batches are accumulated on purpose."""
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for k, rows in enumerate(batches(len(x), 16, 320)):
        (F.cross_entropy(model(x[rows]), y[rows]) / 4).backward()
        if k % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


def cured():
    program(True)
