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


def train(batches):
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(2):
        for x, y in batches:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def sick():
    train(DataLoader(Slow(1e-3), 16, shuffle=True))


def healthy():
    x, y, *_ = digits()
    train([(x[k : k + 16], y[k : k + 16]) for k in range(0, 320, 16)])


def cured():
    """Read once, kept in memory."""
    train(list(DataLoader(Slow(0.0), 16, shuffle=True)))
