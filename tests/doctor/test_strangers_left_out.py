"""Weights that no optimizer holds: tables in a plain dict, a body unfrozen too late."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import digits, fit, grave, mlp, watched  # pyright: ignore[reportMissingImports]


class Shop(nn.Module):
    """Rates pairs of a customer and an article from tables of embeddings."""

    def __init__(self, listed):
        super().__init__()
        tables = {"customer": nn.Embedding(40, 8), "article": nn.Embedding(30, 8)}
        self.tables = nn.ModuleDict(tables) if listed else tables
        self.mlp = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pair):
        a, b = self.tables["customer"](pair[:, 0]), self.tables["article"](pair[:, 1])
        return self.mlp(torch.cat([a, b, a * b], 1)).squeeze(1)


def shop(listed):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    taste, style = torch.randn(40, 3, generator=g), torch.randn(30, 3, generator=g)
    pairs = torch.stack([torch.randint(0, n, (4000,), generator=g) for n in (40, 30)], 1)
    score = (taste[pairs[:, 0]] * style[pairs[:, 1]]).sum(1) / 3**0.5
    model = Shop(listed)
    optimizer = torch.optim.Adam(model.parameters(), 6e-3)
    fit(model, pairs, score, optimizer=optimizer, loss=nn.functional.mse_loss, steps=200)


def unfrozen(anew):
    """Few steps of pretraining, then a head on a frozen body, then all: with an optimizer made anew?"""
    torch.manual_seed(0)
    x, y, *_ = digits()
    body, old, head = mlp(64, 64, 32), nn.Linear(32, 2), nn.Linear(32, 10)

    def train(out, optimizer, y, steps):
        fit(nn.Sequential(body, out), x, y, optimizer=optimizer, steps=steps)

    train(old, torch.optim.Adam([*body.parameters(), *old.parameters()], 1e-3), y % 2, 30)
    body.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in (*body.parameters(), *head.parameters()) if p.requires_grad], 1e-3)  # fmt: skip
    train(head, optimizer, y, 40)
    body.requires_grad_(True)
    if anew:
        optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-3)
    train(head, optimizer, y, 160)


def tags(final):
    """Three questions to each digit, by the loss that torch has for several labels."""
    torch.manual_seed(0)
    x, y, *_ = digits()
    net = nn.Sequential(mlp(64, 64, 3), final)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    asked = torch.stack([y == 0, y == 1, y > 7], 1).float()
    fit(
        net,
        x,
        asked,
        optimizer=optimizer,
        loss=nn.functional.multilabel_soft_margin_loss,
        steps=150,
    )


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        pytest.param(lambda: shop(False), "parameter-not-updated", id="tables in a dict"),
        pytest.param(lambda: unfrozen(False), "parameter-not-updated", id="unfrozen too late"),
        pytest.param(lambda: tags(nn.Sigmoid()), "loss-mismatch", id="sigmoid of several labels"),
    ],
)
def test_the_cause_comes_first(program, cause):
    assert grave(program)[:1] == [cause]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(lambda: shop(True), id="tables in a ModuleDict"),
        pytest.param(lambda: unfrozen(True), id="unfrozen with a new optimizer"),
        pytest.param(lambda: tags(nn.Identity()), id="several labels"),
    ],
)
def test_the_same_done_well_is_left_alone(program):
    assert grave(program) == []


def test_it_says_that_they_were_unfrozen():
    found = watched(lambda: unfrozen(False)).findings[0]
    assert "were frozen when the optimizer was made" in found["explanation"]
