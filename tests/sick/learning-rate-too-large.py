"""Sick, healthy and cured programs for `learning-rate-too-large`: SGD at a rate of 5."""

from __future__ import annotations

from clinic import digits, fit, mlp, torch


def program(rate, warm=False):
    x, y, *_ = digits()
    model = mlp(64, 64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    scheduler = (
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 40))
        if warm
        else None
    )
    fit(model, x, y, optimizer=optimizer, scheduler=scheduler)


def sick():
    program(5.0)


def healthy():
    program(0.1, warm=True)


def cured():
    program(0.05)
