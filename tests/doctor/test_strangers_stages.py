"""Programs in stages: an optimizer that comes later goes on with the steps of those before it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import digits, fit, grave, mlp  # pyright: ignore[reportMissingImports]


def stage(net, optimizer, steps, images=None, labels=None):
    """Train with a look at validation every 25 steps."""
    x, y, xv, yv = digits()
    x, y = (x, y) if images is None else (images, labels)

    def look(step):
        if step % 25 == 24:
            net.eval()
            with torch.no_grad():
                (net(xv).argmax(1) == yv).float().mean()
            net.train()

    fit(net, x, y, optimizer=optimizer, steps=steps, each=look)


class Frozen(nn.Module):
    """A head on a trunk that stays in eval mode while it is frozen."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.head, self.still = trunk, nn.Linear(64, 10), True

    def train(self, mode=True):
        super().train(mode)
        if self.still:
            self.trunk.eval()
        return self

    def forward(self, x):
        return self.head(self.trunk(x))


def trunk():
    return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())


def frozen_then_all():
    """Healthy: learned, frozen under a new head, then all together: three optimizers in a row."""
    net = Frozen(trunk())
    net.still = False
    stage(net, torch.optim.Adam(net.parameters(), 3e-3), 150)
    second = Frozen(net.trunk)
    second.trunk.requires_grad_(False)
    stage(second, torch.optim.Adam(second.head.parameters(), 5e-3), 80)
    second.trunk.requires_grad_(True)
    second.still = False
    stage(second, torch.optim.Adam(second.parameters(), 1e-3), 80)


def one_for_each_epoch():
    """Healthy: an optimizer made anew for each epoch, each with fewer steps than the first."""
    net = mlp(64, 64, 10)
    for epoch in range(5):
        stage(net, torch.optim.Adam(net.parameters(), 3e-3 * 0.7**epoch), 45 - epoch)


def folds():
    """Healthy: three folds, each with a network and an optimizer of its own."""
    x, y, *_ = digits()
    for fold in range(3):
        rest = torch.arange(len(y)) % 3 != fold
        net = mlp(64, 64, 10)
        stage(net, torch.optim.Adam(net.parameters(), 3e-3), 100, x[rest], y[rest])


def fine_tuned_without_its_head():
    """Sick: after 150 good steps the head is replaced, the new optimizer holds the old one."""
    net = nn.Sequential(trunk(), nn.Linear(64, 10))
    stage(net, torch.optim.Adam(net.parameters(), 3e-3), 150)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    net[1] = nn.Linear(64, 10)
    stage(net, optimizer, 100)


class Hooked(nn.Module):
    """Reads what hooks on its own layer have put by: a copy without them cannot run."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.seen = trunk(), nn.Linear(64, 10), {}
        self.body[2].register_forward_hook(lambda m, args, y: self.seen.update(body=y))

    def forward(self, x):
        self.seen.clear()
        self.body(x)
        return self.head(self.seen["body"])


def hooked():
    net = Hooked()
    stage(net, torch.optim.Adam(net.parameters(), 3e-3), 120)


@pytest.mark.parametrize("program", [frozen_then_all, one_for_each_epoch, folds, hooked])
def test_healthy_programs_in_stages_are_left_alone(program):
    torch.manual_seed(0)
    assert grave(program) == []


def test_a_fault_of_the_second_stage_is_seen():
    torch.manual_seed(0)
    assert grave(fine_tuned_without_its_head)[0] == "parameter-not-updated"


def test_later_optimizers_go_on_with_the_steps():
    from visus.doctor import Doctor

    net = mlp(64, 64, 10)
    with Doctor(net) as doctor:
        stage(net, torch.optim.Adam(net.parameters(), 3e-3), 60)
        stage(net, torch.optim.SGD(net.parameters(), 1e-2), 40)
    assert doctor.steps == 60 + 40


def test_a_network_that_lives_on_its_hooks_is_no_error_of_the_doctor():
    from visus.doctor import Doctor

    with Doctor() as doctor:
        hooked()
    assert doctor.errors == []
