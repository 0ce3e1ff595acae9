"""Sick, healthy and cured programs for `underfitting`: a linear network for a ring inside a ring."""

from __future__ import annotations

from clinic import F, fit, mlp, torch


def program(*widths):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 2, generator=g)
    y = ((x**2).sum(1, keepdim=True) > 1.4).float()
    model = mlp(*widths)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    fit(model, x, y, loss=F.binary_cross_entropy_with_logits, optimizer=optimizer, steps=250)


def sick():
    program(2, 1)


def healthy():
    program(2, 64, 1)


def cured():
    program(2, 32, 32, 1)
