"""Sick, healthy and cured programs for `learning-rate-too-small`: Adam at a rate of 1e-6."""

from __future__ import annotations

from clinic import digits, fit, mlp, torch


def program(rate, decay=False):
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120) if decay else None
    fit(model, x, y, optimizer=optimizer, scheduler=scheduler)


def sick():
    program(1e-6)


def healthy():
    program(3e-3, decay=True)


def cured():
    program(2e-3)
