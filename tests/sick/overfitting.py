"""Sick, healthy and cured programs for `overfitting`: forty images for a large network."""

from __future__ import annotations

from clinic import digits, fit, mlp, torch, validate


def program(n, decay=0.0):
    x, y, xv, yv = digits()
    g = torch.Generator().manual_seed(0)
    x = x + 0.4 * torch.randn(x.shape, generator=g)
    xv = xv + 0.4 * torch.randn(xv.shape, generator=g)
    model = mlp(64, 256, 256, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=decay)
    fit(model, x[:n], y[:n], optimizer=optimizer, steps=200, size=32,
        each=lambda step: validate(model, xv, yv) if step % 20 == 19 else None)  # fmt: skip


def sick():
    program(64)


def healthy():
    x, y, xv, yv = digits()
    model = mlp(64, 64, 10)
    fit(
        model,
        x,
        y,
        steps=200,
        each=lambda step: validate(model, xv, yv) if step % 40 == 39 else None,
    )


def cured():
    healthy()
