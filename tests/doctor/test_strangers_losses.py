"""Losses that say the wrong thing while they fall: reversed pairs, drowned reconstructions, labels of 0."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, mlp, rounds  # pyright: ignore[reportMissingImports]


def pairs(loss, steps=150):
    """Half of the pairs hold one digit twice: `loss(a, b, same)` of their embeddings."""
    x, y, *_ = digits()
    net = mlp(64, 64, 16)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    order = torch.argsort(y, stable=True)
    for rows in batches(1400, 64, steps):
        near = order[(torch.argsort(order)[rows] + 1) % len(order)]  # mostly the same digit
        other = torch.where(torch.rand(64) < 0.5, near, torch.randint(0, 1400, (64,)))
        optimizer.zero_grad()
        loss(net(x[rows]), net(x[other]), (y[rows] == y[other]).float()).backward()
        optimizer.step()


def contrast(a, b, same):
    far = F.pairwise_distance(a, b)
    return (same * far**2 + (1 - same) * F.relu(1 - far) ** 2).mean()


def pairs_drawn_together():
    pairs(contrast)


def pairs_the_wrong_way_round():
    pairs(lambda a, b, same: contrast(a, b, 1 - same))


def cosine(a, b, same):
    return F.cosine_embedding_loss(a, b, 2 * same - 1, margin=0.3)


def pairs_by_their_cosine():
    pairs(cosine)


def cosine_of_zeros_and_ones():
    pairs(lambda a, b, same: F.cosine_embedding_loss(a, b, same, margin=0.3))


def variational(factor, steps=250):
    x, *_ = digits()
    x = (x - x.min()) / (x.max() - x.min())
    encode, decode = mlp(64, 128, 16), mlp(8, 128, 64)
    optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters()], 2e-3)
    for rows in batches(1400, 64, steps):
        mean, log_var = encode(x[rows]).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (log_var / 2).exp()
        rebuilt = F.mse_loss(torch.sigmoid(decode(code)), x[rows])
        apart = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
        optimizer.zero_grad()
        (rebuilt + factor * apart).backward()
        optimizer.step()


def variational_weighed():
    variational(1e-3)


def variational_drowned():
    variational(1.0)


def hinge_of_zeros_and_ones():
    x, y, *_ = digits()
    net = nn.Sequential(mlp(64, 32, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for rows in batches(1400, 64, 100):
        optimizer.zero_grad()
        F.soft_margin_loss(net(x[rows]), (y[rows] > 4).float()).backward()
        optimizer.step()


SICK = {
    pairs_the_wrong_way_round: "loss-mismatch",
    cosine_of_zeros_and_ones: "loss-mismatch",
    hinge_of_zeros_and_ones: "loss-mismatch",
    variational_drowned: "regularization-too-strong",
}
HEALTHY = [pairs_drawn_together, pairs_by_their_cosine, variational_weighed]


test_the_cause_comes_first, test_healthy_are_left_alone = rounds(SICK, HEALTHY)
