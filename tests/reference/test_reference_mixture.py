"""Batch-instance and switch norm against their compositions in torch; moments for test time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_oracle import check, close

from visus.reference import mixture as m
from visus.reference import normalization as n

rng = np.random.default_rng(0)
SHAPES = [(4, 6, 5, 3), (2, 6, 7), (1, 6, 3, 3), (2, 6, 2, 2, 3)]


def wide(value, x):
    return value.reshape(1, -1, *[1] * (x.ndim - 2))


def _bin(x, rho, gamma, beta):
    bn, instance = F.batch_norm(x, None, None, training=True), F.instance_norm(x)
    r = wide(rho, x)
    return (r * bn + (1 - r) * instance) * wide(gamma, x) + wide(beta, x)


def _given(shape, mean=0.0):
    return {
        "x": mean + rng.normal(size=shape),
        "rho": rng.uniform(size=6),
        "gamma": rng.normal(size=6),
        "beta": rng.normal(size=6),
    }


@pytest.mark.parametrize("mean", [0.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_instance_norm_is_the_mixture(shape, mean):
    check(
        m.batch_instance_norm, m.batch_instance_norm_backward, _bin,
        tolerance=1e-12 * max(1, mean / 10), **_given(shape, mean),
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_instance_norm_at_test_time(shape):
    mean, var = rng.normal(size=6), rng.uniform(0.1, 3, size=6)

    def theirs(x, rho, gamma, beta):
        fixed = F.batch_norm(x, *(x.new_tensor(a) for a in (mean, var)))
        r = wide(rho, x)
        return (r * fixed + (1 - r) * F.instance_norm(x)) * wide(gamma, x) + wide(beta, x)

    check(
        lambda x, rho, gamma, beta: m.batch_instance_norm_test(x, mean, var, rho, gamma, beta),
        lambda g, x, rho, gamma, beta: m.batch_instance_norm_test_backward(
            g, x, mean, var, rho, gamma, beta
        ),
        theirs,
        **_given(shape),
    )


def test_the_gate_ends_at_the_two_norms():
    x, one = rng.normal(size=(3, 6, 4, 4)), np.ones(6)
    close(m.batch_instance_norm(x, one), n.batch_norm(x), 0)
    close(m.batch_instance_norm(x, 0 * one), n.instance_norm(x), 0)


def _switch(x, mean_weight, var_weight, gamma, beta, fixed=None):
    axes = tuple(range(2, x.ndim))
    over = [axes, (1, *axes), (0, *axes)]
    means = [x.mean(a, keepdim=True) for a in over]
    variances = [x.var(a, correction=0, keepdim=True) for a in over]
    if fixed is not None:
        means[2], variances[2] = (wide(x.new_tensor(one), x) for one in fixed)
    w, v = mean_weight.softmax(0), var_weight.softmax(0)
    mean = w[0] * means[0] + w[1] * means[1] + w[2] * means[2]
    var = v[0] * variances[0] + v[1] * variances[1] + v[2] * variances[2]
    return (x - mean) / (var + 1e-5) ** 0.5 * wide(gamma, x) + wide(beta, x)


def _switch_given(shape, mean=0.0):
    given = _given(shape, mean) | {
        "mean_weight": rng.normal(size=3),
        "var_weight": rng.normal(size=3),
    }
    del given["rho"]
    return given


@pytest.mark.parametrize("mean", [0.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_switch_norm_is_the_mixture_of_moments(shape, mean):
    check(
        m.switch_norm, m.switch_norm_backward, _switch,
        tolerance=1e-12 * max(1, mean / 10), **_switch_given(shape, mean),
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_switch_norm_at_test_time(shape):
    fixed = rng.normal(size=6), rng.uniform(0.1, 3, size=6)
    check(
        lambda x, **rest: m.switch_norm_test(x, *fixed, **rest),
        lambda g, x, **rest: m.switch_norm_test_backward(g, x, *fixed, **rest),
        lambda **given: _switch(**given, fixed=fixed),
        **_switch_given(shape),
    )


def test_switch_norm_ends_at_the_three_norms():
    x = rng.normal(size=(3, 6, 4, 4))
    for k, norm in enumerate((n.instance_norm, n.layer_norm, n.batch_norm)):
        only = np.where(np.arange(3) == k, 0.0, -1e4)
        close(m.switch_norm(x, only, only), norm(x), 1e-13)


def test_running_moments_are_those_of_torch():
    layer = torch.nn.BatchNorm2d(6, momentum=0.3).double()
    mean, var = np.zeros(6), np.ones(6)
    for _ in range(4):
        x = 50 + rng.normal(size=(3, 6, 4, 2))
        layer(torch.tensor(x))
        mean, var = m.running_moments(mean, var, x, momentum=0.3)
    close(mean, layer.running_mean)
    close(var, layer.running_var)


def test_population_moments_are_those_of_all_batches_at_once():
    batches = [1e4 + rng.normal(size=(k, 6, 3, 3)) for k in (1, 5, 2)]
    mean, var = m.population_moments(iter(batches))
    x = np.concatenate(batches)
    close(mean, x.mean((0, 2, 3)))
    close(var, x.var((0, 2, 3)), 1e-11)
    assert np.abs(var - np.mean([b.var((0, 2, 3)) for b in batches], axis=0)).max() > 1e-3
