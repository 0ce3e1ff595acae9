"""Sick, healthy and cured programs for `parameter-not-updated`: a head replaced after the optimizer was made."""

from __future__ import annotations

from clinic import digits, fit, mlp, nn, torch


def program(late):
    x, y, *_ = digits()
    model = nn.Sequential(mlp(64, 64), nn.ReLU(), nn.Linear(64, 4))
    if not late:
        model[2] = nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    if late:
        model[2] = nn.Linear(64, 10)
    fit(model, x, y, optimizer=optimizer)


def sick():
    program(True)


def healthy():
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    fit(model, x, y, steps=60)
    model[0].requires_grad_(False)  # fine-tuning of the head
    fit(model, x, y, optimizer=torch.optim.Adam(model[2].parameters(), lr=2e-3), steps=60)


def cured():
    program(False)
