"""What the programs of the sick ward share: small data, small networks, an ordinary loop.

A program is a function without arguments that trains something; the doctor watches it.
"""

from __future__ import annotations

import functools

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from visus.doctor import Doctor


@functools.cache
def _digits():
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float32)[order] / 16, torch.tensor(y)[order]


def digits():
    """1797 images of 8x8 pixels in [0, 1], shuffled once: (x_train, y_train, x_val, y_val)."""
    x, y = (t.clone() for t in _digits())
    return x[:1500], y[:1500], x[1500:], y[1500:]


def numbers(n=1200, features=8, seed=0):
    """A smooth regression: (x, y) with y of about unit variance."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=g)
    y = (
        torch.sin(x[:, :1] * 1.5)
        + x[:, 1:2] * x[:, 2:3] * 0.5
        + 0.1 * torch.randn(n, 1, generator=g)
    )
    return x, y


def mlp(*widths, act=nn.ReLU, seed=0, norm=None):
    """Linear layers of these widths with `act` between them."""
    torch.manual_seed(seed)
    layers = []
    for i in range(len(widths) - 1):
        layers.append(nn.Linear(widths[i], widths[i + 1]))
        if i < len(widths) - 2:
            layers += [norm(widths[i + 1])] if norm else []
            layers.append(act())
    return nn.Sequential(*layers)


def batches(n, size, steps, seed=0, shuffle=True):
    """Indices of `steps` batches, epoch after epoch."""
    g = torch.Generator().manual_seed(seed)
    done = 0
    while done < steps:
        order = torch.randperm(n, generator=g) if shuffle else torch.arange(n)
        for k in range(0, n - size + 1, size):
            yield order[k : k + size]
            done += 1
            if done == steps:
                return


def fit(model, x, y, *, optimizer=None, loss=F.cross_entropy, steps=120, size=32, seed=0,
        shuffle=True, zero=True, scheduler=None, each=None):  # fmt: skip
    """The ordinary loop: forward, loss, zero_grad, backward, step."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for step, rows in enumerate(batches(len(x), size, steps, seed, shuffle)):
        value = loss(model(x[rows]), y[rows])
        if zero:
            optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if each is not None:
            each(step)
    return model


@torch.no_grad()
def validate(model, x, y, *, loss=F.cross_entropy, mode="eval", size=100):
    """Mean loss over validation batches; leaves the network in train mode."""
    model.train(mode == "train")
    total = sum(
        loss(model(x[k : k + size]), y[k : k + size]).item() for k in range(0, len(x), size)
    )
    model.train()
    return total * size / len(x)


def healthy_digits():
    """A plain healthy program, for the ids whose healthy case is ordinary training."""
    x, y, xv, yv = digits()
    model = mlp(64, 64, 10)
    fit(model, x, y, each=lambda step: validate(model, xv, yv) if step % 46 == 45 else None)


def watched(program):
    """The doctor after it has watched a program."""
    torch.manual_seed(0)
    with Doctor() as doctor:
        program()
    assert doctor.errors == []
    return doctor


def grave(program):
    """The ids of all warnings and errors about a program, causes first."""
    return [f["id"] for f in watched(program).findings if f["severity"] != "info"]


def rounds(sick, healthy):
    """Two tests: of each program in `sick` its cause is named first, none in `healthy` is accused.

    To be assigned in a test file: `test_the_cause_comes_first, test_healthy_are_left_alone = rounds(SICK, HEALTHY)`.
    """

    @pytest.mark.parametrize("program", sick, ids=lambda p: p.__name__)
    def the_cause_comes_first(program):
        assert grave(program)[:1] == [sick[program]]

    @pytest.mark.parametrize("program", healthy, ids=lambda p: p.__name__)
    def healthy_are_left_alone(program):
        assert grave(program) == []

    return the_cause_comes_first, healthy_are_left_alone
