"""The moving average of the weights against a hand computation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visus.training.ema import Average


def test_weights_and_norm_statistics_by_hand():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.BatchNorm1d(2)).double()
    average = Average(model, decay=0.5)
    weight = [model[0].weight.detach().clone()]
    expected_w, expected_m = weight[0].clone(), torch.zeros(2, dtype=torch.float64)
    for n in range(6):
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[n + 1.0], [-n]]))
            model[1].running_mean.copy_(torch.tensor([n * 2.0, 1.0]))
            model[1].num_batches_tracked += 1
        average.update(n)
        d = min(0.5, (1 + n) / (10 + n))
        expected_w = d * expected_w + (1 - d) * model[0].weight.detach()
        expected_m = d * expected_m + (1 - d) * model[1].running_mean
    torch.testing.assert_close(average.model[0].weight.detach(), expected_w)
    torch.testing.assert_close(average.model[1].running_mean, expected_m)
    assert average.model[1].num_batches_tracked == 6


def test_the_model_itself_is_not_touched_and_the_average_needs_no_gradient():
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    average = Average(model, decay=0.9)
    average.update(0)
    assert torch.equal(model.weight, before) and model.weight.requires_grad
    assert not any(p.requires_grad for p in average.model.parameters())
    assert not average.model.training and model.training


def test_early_updates_forget_the_start():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average = Average(model, decay=0.999)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.update(0)
    assert float(average.model.weight) == pytest.approx(0.9)
