"""What was learned and lost again; what never reaches the first of many layers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from visus.doctor.progress import relapse
from visus.doctor.rules import rules
from visus.doctor.signals import Signals

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import digits, fit, grave  # pyright: ignore[reportMissingImports]


def course(end, steps=200):
    """A training that comes down to 0.7 of ln 10 = 2.3, and ends at `end`."""
    s = Signals()
    s.facts |= {"plain": True, "task": "classification", "prior_entropy": math.log(10)}
    s.steps = steps
    for k in range(steps):
        down = 2.3 - 1.6 * min(k / (steps / 2), 1)
        s.add("loss", "value", k, down if k < 0.75 * steps else end)
    return s


@pytest.mark.parametrize(("end", "named"), [(0.5, False), (0.75, False), (1.1, False), (1.4, True)])
def test_a_loss_that_comes_back_is_named(end, named):
    s = course(end)
    assert (relapse(s)[1] == end) == named
    found = rules["loss-oscillating"](s)
    assert (found is not None) == named
    assert not named or "lost again" in found["explanation"]


def deep(gain):
    torch.manual_seed(0)
    layers = []
    for ins in (64, *[48] * 12):
        layers += [nn.Linear(ins, 48), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(48, 10))
    for layer in net:
        if gain and isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight, gain)
    x, y, *_ = digits()
    sgd = torch.optim.SGD(net.parameters(), 0.03, momentum=0.9)
    fit(net, x - x.mean(0), y, optimizer=sgd, steps=150)


def test_a_deep_net_by_torchs_own_draw_hears_nothing_in_its_first_layers():
    assert set(grave(lambda: deep(0))[:1]) & {"gradient-vanishing", "init-too-small"}
    assert grave(lambda: deep(1.2)) == []
