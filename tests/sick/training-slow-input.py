"""Sick, healthy and cured programs for `training-slow-input`: a data set that sleeps over each sample."""

from __future__ import annotations

import time

from clinic import F, digits, mlp, torch
from torch.utils.data import DataLoader, Dataset


class Slow(Dataset):
    def __init__(self, seconds):
        self.x, self.y, *_ = digits()
        self.seconds = seconds

    def __len__(self):
        return 320

    def __getitem__(self, i):
        time.sleep(self.seconds)
        return self.x[i], self.y[i]


def program(seconds):
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for x, y in _twice(DataLoader(Slow(seconds), 16, shuffle=True)):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _twice(loader):
    yield from loader
    yield from loader


def sick():
    program(1e-3)


def healthy():
    program(0.0)


def cured():
    program(0.0)
