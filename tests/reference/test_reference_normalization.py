"""Norms over their index sets against torch, their sets by definition, and their relations."""

from __future__ import annotations

import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch.nn.functional as F
from torch_oracle import check, close

from visus.errors import UsageError
from visus.reference import normalization as n

rng = np.random.default_rng(0)

# ---- the sets, element by element as the formula says ---------------------------------

SETS = {
    "batch": (n.batch_sets, lambda k, i: k[1] == i[1]),
    "instance": (n.instance_sets, lambda k, i: k[:2] == i[:2]),
    "layer": (n.layer_sets, lambda k, i: k[0] == i[0]),
    "group": (
        lambda shape: n.group_sets(shape, 2),
        lambda k, i: k[0] == i[0] and k[1] // 2 == i[1] // 2,
    ),
    "pixel": (n.pixel_sets, lambda k, i: k[0] == i[0] and k[2:] == i[2:]),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", [(2, 4, 3, 2), (3, 4), (1, 4, 5)], ids=str)
def test_sets_are_those_of_the_formula(name, shape):
    sets, same = SETS[name]
    place = dict(enumerate(itertools.product(*map(range, shape))))
    found = {frozenset(map(int, members)) for members in sets(shape)}
    wanted = {frozenset(f for f, k in place.items() if same(k, i)) for i in place.values()}
    assert found == wanted


def test_the_comparison_of_sets_sees_another_norm():
    shape = (2, 4, 3, 2)
    as_sets = {name: {tuple(m) for m in sets(shape)} for name, (sets, _) in SETS.items()}
    for one, other in itertools.combinations(as_sets, 2):
        assert as_sets[one] != as_sets[other]


# ---- torch ----------------------------------------------------------------------------

SHAPES = [(4, 6, 5, 3), (3, 6), (2, 6, 7), (2, 6, 2, 3, 2), (1, 6, 3, 3), (5, 6, 1, 3)]
LEVELS = {"mean 0": (0, 1), "mean 1000": (1e3, 1), "mean 1e4": (1e4, 1), "tiny": (0, 1e-4)}


def _batch(x, gamma, beta):
    return F.batch_norm(x, None, None, gamma, beta, training=True)


def _layer(x, gamma, beta):
    y = F.layer_norm(x, x.shape[1:])
    wide = (1, -1, *[1] * (x.ndim - 2))
    return y * gamma.reshape(wide) + beta.reshape(wide)


def _pixel(x, gamma, beta):
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], gamma, beta, 1e-6).movedim(-1, 1)


NORMS = {
    "batch": (n.batch_norm, n.batch_norm_backward, _batch),
    "instance": (
        n.instance_norm,
        n.instance_norm_backward,
        lambda x, gamma, beta: F.instance_norm(x, weight=gamma, bias=beta),
    ),
    "layer": (n.layer_norm, n.layer_norm_backward, _layer),
    "group": (
        lambda x, gamma, beta: n.group_norm(x, 3, gamma, beta),
        lambda g, x, gamma, beta: n.group_norm_backward(g, x, 3, gamma, beta),
        lambda x, gamma, beta: F.group_norm(x, 3, gamma, beta),
    ),
    "pixel": (n.pixel_norm, n.pixel_norm_backward, _pixel),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_norm_is_that_of_torch(name, shape, level):
    if name == "instance" and len(shape) == 2:
        pytest.skip("a plane of one element: torch refuses")
    mean, std = LEVELS[level]
    forward, backward, theirs = NORMS[name]
    # x itself is rounded at 1e-16 of its mean, and torch subtracts a mean rounded alike: what
    # can agree is 1e-12 relative to that loss.
    check(
        forward, backward, theirs, tolerance=1e-12 * max(1, mean / std / 10),
        x=mean + std * rng.normal(size=shape),
        gamma=rng.normal(size=6), beta=rng.normal(size=6),
    )  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_constant_planes_give_beta(name):
    x = np.broadcast_to([[[[3e4]], [[-7.1]], [[0.0]], [[1e-8]], [[5.0]], [[0.1]]]], (2, 6, 3, 3))
    x = x if name in ("batch", "instance") else np.full((2, 6, 3, 3), 7.1e3)
    gamma, beta = rng.normal(size=6), rng.normal(size=6)
    close(NORMS[name][0](x, gamma, beta), np.broadcast_to(n.by_channel(beta, x), x.shape))
    assert np.isfinite(NORMS[name][1](np.ones_like(x), x, gamma, beta)["x"]).all()


@pytest.mark.parametrize("name", NORMS)
def test_an_empty_batch_stays_empty(name):
    x, one = np.zeros((0, 6, 3, 3)), np.ones(6)
    gradients = NORMS[name][1](x, x, one, one)
    assert NORMS[name][0](x, one, one).shape == gradients["x"].shape == x.shape
    close(gradients["gamma"], np.zeros(6))


def test_layer_norm_with_parameters_for_each_element():
    check(
        n.layer_norm, n.layer_norm_backward,
        lambda x, gamma, beta: F.layer_norm(x, x.shape[1:], gamma, beta),
        x=rng.normal(size=(3, 4, 2, 5)),
        gamma=rng.normal(size=(4, 2, 5)), beta=rng.normal(size=(4, 2, 5)),
    )  # fmt: skip


def test_batch_norm_at_test_time_is_that_of_torch():
    mean, var = rng.normal(size=6), rng.uniform(0.1, 3, size=6)
    check(
        lambda x, gamma, beta: n.batch_norm_test(x, mean, var, gamma, beta),
        lambda g, x, gamma, beta: n.batch_norm_test_backward(g, x, mean, var, gamma, beta),
        lambda x, gamma, beta: F.batch_norm(x, x.new_tensor(mean), x.new_tensor(var), gamma, beta),
        x=rng.normal(size=(4, 6, 5, 3)), gamma=rng.normal(size=6), beta=rng.normal(size=6),
    )  # fmt: skip


# ---- how exact the reference is itself ------------------------------------------------


def _exactly(x, g, eps):
    """y and dx of one set in 60 decimal digits: the formulas, without any rounding that matters."""
    with localcontext() as context:
        context.prec = 60
        xs, gs, m = [Decimal(v) for v in x], [Decimal(v) for v in g], len(x)
        mu = sum(xs, Decimal(0)) / m
        d = [v - mu for v in xs]
        r = 1 / (sum((v * v for v in d), Decimal(0)) / m + Decimal(eps)).sqrt()
        y = [v * r for v in d]
        a = sum(gs, Decimal(0)) / m
        b = sum((p * q for p, q in zip(gs, y, strict=True)), Decimal(0)) / m
        dx = [r * (p - a - q * b) for p, q in zip(gs, y, strict=True)]
        return np.array(y, dtype=float), np.array(dx, dtype=float)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e4, 1e8])
@pytest.mark.parametrize("std", [1.0, 1e-3])
def test_the_reference_is_exact_at_any_mean(mean, std):
    x, g = mean + std * rng.normal(size=(1, 1, 10, 12)), rng.normal(size=(1, 1, 10, 12))
    y, dx = _exactly(x.ravel().tolist(), g.ravel().tolist(), 1e-5)
    close(n.batch_norm(x).ravel(), y, 2e-15)
    # sum(h xhat) is a difference of many terms: its rounding is seen next to the largest dx
    close(n.batch_norm_backward(g, x)["x"].ravel(), dx, 2e-15 * max(1, np.abs(dx).max()))


# ---- relations ------------------------------------------------------------------------


def test_relations_between_the_norms():
    x = 100 + rng.normal(size=(3, 6, 4, 5))
    args: tuple = (x, rng.normal(size=6), rng.normal(size=6))
    close(n.group_norm(x, 6, *args[1:]), n.instance_norm(*args), 0)
    close(n.group_norm(x, 1, *args[1:]), n.layer_norm(*args), 0)
    close(n.batch_norm(x[:1], *args[1:]), n.instance_norm(x[:1], *args[1:]), 0)
    close(n.layer_norm(x[..., :1, :1]), n.pixel_norm(x[..., :1, :1], eps=1e-5), 0)


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_ignores_shift_and_scale_of_its_sets(name):
    x = rng.normal(size=(3, 6, 4, 5))
    args = np.ones(6), np.zeros(6)
    close(NORMS[name][0](x + 2.0**20, *args), NORMS[name][0](x, *args), 1e-9)
    g = rng.normal(size=x.shape)
    dx = NORMS[name][1](g, x, *args)["x"]
    sets = {"batch": n.batch_sets, "instance": n.instance_sets, "layer": n.layer_sets}
    if name in sets:
        close(n.mean_over(sets[name](x.shape), dx), np.zeros_like(x), 1e-14)


def test_what_does_not_fit_is_said():
    with pytest.raises(UsageError, match="6 channels in 4 groups"):
        n.group_norm(np.zeros((1, 6, 2, 2)), 4)
    with pytest.raises(UsageError, match=r"per channel: shape \(5,\)"):
        n.batch_norm(np.zeros((1, 6, 2, 2)), np.ones(5))
