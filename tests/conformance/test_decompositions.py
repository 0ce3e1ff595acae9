"""The backward formulas of `torch._decomp`, written by others, against visus.reference.

Each entry gives what PyTorch's decomposition computes in float64 and what the reference says.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from suites import compare, run_all
from torch._decomp import decompositions as D

from visus import reference as R
from visus.family import Family

formulas = Family("formula")
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def draw(*shape: int, seed: int = 0, offset: float = 0.0) -> Any:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator) + offset


G, X, T = draw(4, 5), 3 * draw(4, 5, seed=1), draw(4, 5, seed=2)
IMAGES, IMAGE_G = draw(3, 6, 4, 5, offset=50.0), draw(3, 6, 4, 5, seed=1)
GAMMA, BETA = draw(6, seed=3), draw(6, seed=4)


@formulas.member
def sigmoid():
    yield D.sigmoid_backward(G, X.sigmoid()), R.activation.sigmoid_backward(G, X)["x"]


@formulas.member
def tanh():
    yield D.tanh_backward(G, X.tanh()), R.activation.tanh_backward(G, X)["x"]


@formulas.member
def relu():
    for x in (X, X.where(X > 0, 0.0)):
        yield D.threshold_backward(G, x, 0.0), R.activation.relu_backward(G, x)["x"]


@formulas.member
def leaky_relu():
    for slope in (0.01, 0.3):
        ours = R.activation.leaky_relu_backward(G, X, slope=slope)["x"]
        yield D.leaky_relu_backward(G, X, slope, False), ours


@formulas.member
def elu():
    for alpha in (1.0, 0.4):
        ours = R.activation.elu_backward(G, X, alpha=alpha)["x"]
        yield D.elu_backward(G, alpha, 1.0, 1.0, False, X), ours


@formulas.member
def softmax():
    for axis in (0, 1):
        y, ours = X.softmax(axis), R.linear.softmax_backward(G, X, axis=axis)["x"]
        yield D._softmax_backward_data(G, y, axis, torch.float64), ours


@formulas.member
def log_softmax():
    for axis in (0, 1):
        y, ours = X.log_softmax(axis), R.linear.log_softmax_backward(G, X, axis=axis)["x"]
        yield D._log_softmax_backward_data(G, y, axis, torch.float64), ours


def each_reduction():
    """Name, code, and a fitting gradient of the output."""
    for name, code in REDUCTIONS.items():
        yield name, code, G if name == "none" else torch.tensor(1.7, dtype=torch.float64)


@formulas.member
def squared_error():
    for name, code, g in each_reduction():
        ours = R.loss.l2_backward(g, X, T, reduction=name)["x"]
        yield D.mse_loss_backward(g, X, T, code), ours


@formulas.member
def smooth_l1():
    for name, code, g in each_reduction():
        for beta in (1.0, 0.5):
            ours = R.loss.smooth_l1_backward(g, X, T, beta=beta, reduction=name)["x"]
            yield D.smooth_l1_loss_backward(g, X, T, code, beta), ours


@formulas.member
def logistic():
    labels = T.sign()
    for name, code, g in each_reduction():
        ours = R.loss.logistic_backward(g, X, labels, reduction=name)["x"]
        yield D.soft_margin_loss_backward(g, X, labels, code), ours


@formulas.member
def binary_logistic():
    """PyTorch's formula is by the probability; the chain through sigmoid makes it ours."""
    probability, target = X.sigmoid(), T.sigmoid()
    for name, code, g in each_reduction():
        inner = D.binary_cross_entropy_backward(g, probability, target, None, code)
        ours = R.loss.binary_logistic_backward(g, X, target, reduction=name)["x"]
        yield D.sigmoid_backward(inner, probability), ours


@formulas.member
def cross_entropy():
    """PyTorch's two formulas, of the likelihood and of log-softmax, are our one."""
    target, weight = torch.tensor([0, 4, -100, 2]), T[0].abs() + 0.1
    for given in (None, weight):
        total = (torch.ones(5) if given is None else given)[target[target >= 0]].sum()
        for name, code, g in each_reduction():
            g = G[:, 0] if name == "none" else g
            y = X.log_softmax(1)
            inner = D.nll_loss_backward(g, y, target, given, code, -100, total.double())
            theirs = D._log_softmax_backward_data(inner, y, 1, torch.float64)
            ours = R.loss.cross_entropy_backward(g, X, target, weight=given, reduction=name)["x"]
            yield theirs, ours


@formulas.member
def dropout():
    mask = X > 0
    yield D.native_dropout_backward(G, mask, 1 / 0.7), R.regularization.dropout_backward(G, X, mask, rate=0.3)["x"]  # fmt: skip


def moments(x: torch.Tensor, axes: tuple, eps: float = 1e-5) -> tuple:
    """Mean and 1 / sqrt(variance + eps), as the decompositions want them saved."""
    return x.mean(axes), (x.var(axes, unbiased=False) + eps).rsqrt()


def triple(theirs: Any, ours: dict) -> Any:
    yield from zip(theirs, (ours["x"], ours["gamma"], ours["beta"]), strict=True)


@formulas.member
def batch_norm():
    mean, rstd = moments(IMAGES, (0, 2, 3))
    running = (GAMMA + 50, GAMMA.abs() + 0.5)
    theirs = D.native_batch_norm_backward(IMAGE_G, IMAGES, GAMMA, *running, mean, rstd, True, 1e-5, [True] * 3)  # fmt: skip
    yield from triple(theirs, R.normalization.batch_norm_backward(IMAGE_G, IMAGES, GAMMA, BETA))
    theirs = D.native_batch_norm_backward(IMAGE_G, IMAGES, GAMMA, *running, mean, rstd, False, 1e-5, [True] * 3)  # fmt: skip
    ours = R.normalization.batch_norm_test_backward(IMAGE_G, IMAGES, *running, GAMMA, BETA)
    yield from triple(theirs, ours)


@formulas.member
def group_norm():
    """One group is layer norm, as many as channels instance norm."""
    for groups in (1, 2, 3, 6):
        mean, rstd = moments(IMAGES.reshape(3, groups, -1), (2,))
        theirs = D.native_group_norm_backward(IMAGE_G, IMAGES, mean, rstd, GAMMA, 3, 6, 20, groups, [True] * 3)  # fmt: skip
        ours = R.normalization.group_norm_backward(IMAGE_G, IMAGES, groups, GAMMA, BETA)
        yield from triple(theirs, ours)
    yield theirs[0], R.normalization.instance_norm_backward(IMAGE_G, IMAGES, GAMMA, BETA)["x"]


@formulas.member
def layer_norm():
    shape = IMAGES.shape[1:]
    gamma, beta = draw(*shape, seed=8), draw(*shape, seed=9)
    mean, rstd = (t.reshape(3, 1, 1, 1) for t in moments(IMAGES, (1, 2, 3)))
    theirs = D.native_layer_norm_backward(IMAGE_G, IMAGES, list(shape), mean, rstd, gamma, beta, [True] * 3)  # fmt: skip
    yield from triple(theirs, R.normalization.layer_norm_backward(IMAGE_G, IMAGES, gamma, beta))


@formulas.member
def pixel_norm():
    """Layer norm over the channels of each pixel is PyTorch's with the channels last."""
    x, g = IMAGES.movedim(1, -1).contiguous(), IMAGE_G.movedim(1, -1).contiguous()
    mean, rstd = (t.unsqueeze(-1) for t in moments(x, (3,), 1e-6))
    theirs = D.native_layer_norm_backward(g, x, [6], mean, rstd, GAMMA, BETA, [True] * 3)
    ours = R.normalization.pixel_norm_backward(IMAGE_G, IMAGES, GAMMA, BETA)
    yield theirs[0].movedim(-1, 1), ours["x"]
    yield from zip(theirs[1:], (ours["gamma"], ours["beta"]), strict=True)


@formulas.member
def max_pool():
    for options in ({"stride": 2}, {"stride": 1, "padding": 1}, {"stride": 2, "dilation": 2, "ceil_mode": True}):  # fmt: skip
        y, index = torch.nn.functional.max_pool2d(IMAGES, 2, return_indices=True, **options)
        g, full = draw(*y.shape), {"padding": 0, "dilation": 1, "ceil_mode": False, **options}
        pairs = [[full[key]] * 2 for key in ("stride", "padding", "dilation")]
        theirs = D.max_pool2d_with_indices_backward(g, IMAGES, [2, 2], *pairs, full["ceil_mode"], index)  # fmt: skip
        yield theirs, R.pooling.max_pool_backward(g, IMAGES, 2, **options)["x"]


def check(case: Any, scale: float = 1.0) -> None:
    count = 0
    for theirs, ours in formulas[case.name]():
        compare(case.name, np.asarray(ours) * scale, theirs.numpy(), rtol=1e-9, atol=1e-11)
        count += 1
    assert count, "nothing was compared"


@pytest.mark.parametrize("name", formulas)
def test_reference_agrees_with_the_decompositions(name, tally):
    counts, failures = run_all([SimpleNamespace(name=name)], check)
    tally("torch._decomp", counts)
    assert not failures, failures


@pytest.mark.parametrize("name", formulas)
def test_a_formula_off_by_a_hundredth_is_seen(name):
    counts, _ = run_all([SimpleNamespace(name=name)], lambda case: check(case, 1.01))
    assert counts["failed"] == 1


def test_all_formulas_are_there():
    assert len(formulas) >= 18
