"""Sick, healthy and cured programs for `mode-wrong`: evaluation turns training mode off for good."""

from __future__ import annotations

from clinic import F, digits, fit, mlp, nn, torch, validate


def program(mode):
    x, y, xv, yv = digits()
    torch.manual_seed(0)
    model = nn.Sequential(mlp(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    def look(step):
        if step % 30 == 29 and mode != "none":
            validate(model, xv, yv)
            if mode == "forgot":
                model.eval()

    fit(model, x, y, each=look)
    return F


def sick():
    program("forgot")


def healthy():
    program("none")


def cured():
    program("right")
