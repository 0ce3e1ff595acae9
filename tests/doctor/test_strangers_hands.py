"""Programs as strangers write them: layers of their own, gradients asked for, labels left out."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, fit, grave, mlp, watched  # pyright: ignore[reportMissingImports]


class Own(nn.Module):
    """A linear layer written out, its weights (units, inputs) as torch holds them."""

    def __init__(self, ins, outs, bias=0.0, gain=2.0, product="matmul"):
        super().__init__()
        self.w = nn.Parameter(torch.randn(outs, ins) * math.sqrt(gain / ins))
        self.b = nn.Parameter(torch.full((outs,), bias))
        self.product = product

    def forward(self, x):
        if self.product == "einsum":
            return torch.einsum("bi,oi->bo", x, self.w) + self.b
        return x @ self.w.t() + self.b


def stack(*widths, act, **options):
    torch.manual_seed(0)
    layers = []
    for ins, outs in itertools.pairwise(widths):
        layers += [Own(ins, outs, **options), act()]
    return nn.Sequential(*layers[:-1])


class Gate(nn.Module):
    def forward(self, x):
        return 1 / (1 + torch.exp(-x))


def taught(net, steps=150, rate=3e-3):
    x, y, *_ = digits()
    fit(
        net,
        (x - x.mean(0)) / 0.3,
        y,
        optimizer=torch.optim.Adam(net.parameters(), rate),
        steps=steps,
    )


def own_layers_silent(bias=-4.0, product="matmul"):
    taught(stack(64, 64, 64, 10, act=nn.ReLU, bias=bias, product=product), rate=1e-4)


def own_layers_silent_by_einsum():
    own_layers_silent(product="einsum")


def own_layers():
    taught(stack(64, 64, 64, 10, act=nn.ReLU))


def own_layers_deep_and_gated(depth=7, act=Gate):
    taught(stack(64, *[64] * depth, 10, act=act, gain=1.0), steps=250)


def own_layers_flat_and_gated():
    own_layers_deep_and_gated(depth=1)


def born_silent(low=-0.2, high=0.1):
    """Most first units are silent from the start; the few that live learn slowly."""
    net, (x, y, *_) = mlp(64, 80, 50, 30, 10), digits()
    for layer in (0, 2, 4, 6):
        nn.init.uniform_(net[layer].weight, low, high)
    fit(
        net,
        x,
        y,
        optimizer=torch.optim.SGD(net.parameters(), 0.1, momentum=0.8),
        steps=300,
        size=50,
    )


def born_awake():
    born_silent(low=-0.2, high=0.2)


def asked_for_gradients(rate=0.1):
    """No network, no optimizer, no backward: `torch.autograd.grad` and updates by hand."""
    (x, y, *_), g = digits(), torch.Generator().manual_seed(0)
    w1 = (torch.randn(64, 48, generator=g) / 8).requires_grad_()
    b1, b2 = torch.zeros(48, requires_grad=True), torch.zeros(10, requires_grad=True)
    w2 = (torch.randn(48, 10, generator=g) / 7).requires_grad_()
    weights = [w1, b1, w2, b2]
    for rows in batches(1500, 50, 200):
        loss = F.cross_entropy(torch.tanh(x[rows] @ w1 + b1) @ w2 + b2, y[rows])
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, grad in zip(weights, grads, strict=True):
                w.sub_(rate * grad)
    assert all(w.grad is None for w in weights)


def asked_for_gradients_and_crept():
    asked_for_gradients(rate=2e-5)


def rate_gone_early(ends=4):
    """A schedule by epochs that is stepped once a batch: the rate is gone before half is learned."""
    net, (x, y, *_) = mlp(64, 64, 10), digits()
    optimizer = torch.optim.SGD(net.parameters(), 0.3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: max(1 - k / ends, 2e-3))
    fit(net, x, y, optimizer=optimizer, scheduler=schedule, steps=250)


def rate_gone_in_the_end():
    rate_gone_early(ends=250)


def half_without_labels():
    """Half the labels are -1 and left out by the loss."""
    net, (x, y, *_) = mlp(64, 32, 10), digits()
    y[torch.rand(len(y), generator=torch.Generator().manual_seed(0)) < 0.5] = -1
    fit(net, x, y, loss=lambda out, goal: F.cross_entropy(out, goal, ignore_index=-1), steps=150)


def few_of_many_layers(taught_ones=4):
    """Only the last layer is taught, behind a body of random weights that nobody meant to freeze."""
    net, (x, y, *_) = mlp(64, 8, 8, 10), digits()
    fit(net, x, y, optimizer=torch.optim.Adam(list(net.parameters())[-2:], 1e-2), steps=150)


CAUSES = {
    own_layers_silent: "relu-dead",
    own_layers_silent_by_einsum: "relu-dead",
    own_layers_deep_and_gated: "gradient-vanishing",
    born_silent: "relu-dead",
    asked_for_gradients_and_crept: "learning-rate-too-small",
    rate_gone_early: "learning-rate-too-small",
    few_of_many_layers: "parameter-not-updated",
}
HEALTHY = [own_layers, own_layers_flat_and_gated, born_awake, asked_for_gradients,
           rate_gone_in_the_end, half_without_labels]  # fmt: skip


@pytest.mark.parametrize("program", CAUSES, ids=lambda p: p.__name__)
def test_the_cause_comes_first(program):
    found = grave(program)
    assert found[:1] == [CAUSES[program]] and "label-noise" not in found


@pytest.mark.parametrize("program", HEALTHY, ids=lambda p: p.__name__)
def test_healthy_programs_are_left_alone(program):
    assert grave(program) == []


def test_weights_used_transposed_are_layers_with_their_gradients():
    signals = watched(own_layers).host.signals
    assert [(one["place"], one["units"], one["fan_in"]) for one in signals.layers] == [
        ("0", 64, 64), ("2", 64, 64), ("4", 10, 64)]  # fmt: skip
    assert all(signals.values(one["place"], "gradient") for one in signals.layers)


def test_held_out_samples_are_looked_at_from_all_over_a_sorted_set():
    x, y, xv, yv = digits()
    order = yv.argsort()
    xv, yv, net = xv[order], yv[order], mlp(64, 32, 10)

    def judge(step):
        if step == 63:  # a look that is always taken
            with torch.no_grad():
                F.cross_entropy(net(xv), yv)

    doctor = watched(lambda: fit(net, x, y, steps=100, each=judge))
    counts = doctor.host.signals.facts["validation_recall"]
    assert sum(n for _, n in counts.values()) == 128
    assert set(counts) == set(range(10)) and max(n for _, n in counts.values()) < 20


def test_left_out_labels_count_neither_right_nor_wrong():
    signals = watched(half_without_labels).host.signals
    assert -1 not in signals.facts["train_recall"]
    assert signals.last("final", "train_error") < 0.2


def test_short_texts_come_back_by_themselves():
    """Texts of few letters: new ones are like old ones, and no sample has leaked."""
    g = torch.Generator().manual_seed(0)

    def texts(n):
        x = torch.randint(0, 2, (n, 7), generator=g)
        return x, (x.sum(1) > 3).long()

    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(2, 8), nn.Flatten(), nn.Linear(56, 2))
    (x, y), (xv, yv) = texts(640), texts(200)

    def judge(step):
        if step % 20 == 19:
            with torch.no_grad():
                F.cross_entropy(net(xv), yv)

    assert grave(lambda: fit(net, x, y, steps=150, each=judge)) == []
