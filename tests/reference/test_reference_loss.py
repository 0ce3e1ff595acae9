"""Losses against torch: reductions, weights, ignored and soft targets, scores far out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_oracle import check, close

from visus.errors import UsageError
from visus.reference import linear
from visus.reference import loss as topic

rng = np.random.default_rng(0)
REDUCTIONS = ["mean", "sum", "none"]
SCALES = [1.0, 1e-3, 1e4]


def pair(name, **options):
    forward, backward = getattr(topic, name), getattr(topic, f"{name}_backward")
    return (
        lambda **a: forward(**a, **options),
        lambda g, **a: backward(g, **a, **options),
    )


REGRESSION = {
    "l2": ({}, F.mse_loss),
    "l1": ({}, F.l1_loss),
    "smooth_l1": ({"beta": 0.3}, lambda *a, **k: F.smooth_l1_loss(*a, beta=0.3, **k)),
    "smooth_l1 ": ({"beta": 0.0}, lambda *a, **k: F.smooth_l1_loss(*a, beta=0.0, **k)),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", REGRESSION)
def test_regression_losses_are_those_of_torch(name, reduction, scale):
    options, theirs = REGRESSION[name]
    check(
        *pair(name.strip(), reduction=reduction, **options),
        lambda x, target: theirs(x, target, reduction=reduction),
        x=scale * rng.normal(size=(5, 3)), target=scale * rng.normal(size=(5, 3)),
    )  # fmt: skip


@pytest.mark.parametrize("name", REGRESSION)
def test_an_error_of_zero_has_no_gradient(name):
    x = np.zeros((2, 2))
    close(pair(name.strip())[1](1.0, x=x, target=x)["x"], x)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["l1", "l2", "smooth_l1"])
def test_weights_by_element(name, reduction):
    weight, x, t = rng.uniform(size=(4, 3)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    forward, backward = pair(name, weight=weight, reduction=reduction)
    whole = {
        "mean": lambda e: (weight * e).sum() / weight.sum(),
        "sum": lambda e: (weight * e).sum(),
    }
    theirs = {"l1": F.l1_loss, "l2": F.mse_loss, "smooth_l1": F.smooth_l1_loss}[name]
    w = torch.tensor(weight)
    whole["none"] = lambda e: w * e
    check(
        forward, backward,
        lambda x, target: whole[reduction](theirs(x, target, reduction="none"))
        if reduction == "none"
        else (w * theirs(x, target, reduction="none")).sum() / (w.sum() if reduction == "mean" else 1),
        x=x, target=t,
    )  # fmt: skip


# ---- cross entropy --------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 5)], ids=str)
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_that_of_torch(shape, scale, weighted, smoothing, reduction, soft):
    weight = rng.uniform(0.1, 2, size=4) if weighted else None
    labels = rng.integers(0, 4, size=(shape[0], *shape[2:]))
    labels.flat[1] = 99
    target = linear.softmax(rng.normal(size=shape), axis=1) if soft else labels
    options = {"label_smoothing": smoothing, "reduction": reduction}
    options |= {} if soft else {"ignore_index": 99}
    forward, backward = pair("cross_entropy", target=target, weight=weight, **options)
    check(
        forward, backward,
        lambda x: F.cross_entropy(
            x, torch.tensor(target), None if weight is None else torch.tensor(weight), **options
        ),
        x=scale * rng.normal(size=shape),
    )  # fmt: skip


def test_hard_and_soft_targets_agree():
    x, labels = rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    close(topic.cross_entropy(x, labels), topic.cross_entropy(x, np.eye(3)[labels]), 1e-15)
    one = topic.cross_entropy_backward(1.0, x, labels)["x"]
    close(one, (linear.softmax(x) - np.eye(3)[labels]) / 5, 1e-15)


def test_the_loss_of_a_certain_and_wrong_answer_is_finite():
    assert topic.cross_entropy([[1e4, -1e4]], [1]) == 2e4
    assert topic.cross_entropy([[0.0, -np.inf]], [0]) == 0


# ---- logistic, divergence, ranking ----------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("scale", [*SCALES, 800.0])
def test_logistic_is_torchs_soft_margin(scale, reduction):
    target = np.sign(rng.normal(size=(4, 5)))
    check(
        *pair("logistic", target=target, reduction=reduction),
        # torch's soft_margin_loss overflows: the same, stable
        lambda x: {"mean": torch.mean, "sum": torch.sum, "none": lambda e: e}[reduction](
            torch.logaddexp(-torch.tensor(target) * x, torch.zeros_like(x))
        ),
        x=scale * rng.normal(size=(4, 5)),
    )
    x = rng.normal(size=(4, 5))
    close(topic.logistic(x, target), F.soft_margin_loss(torch.tensor(x), torch.tensor(target)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_logistic_is_that_of_torch(weighted, scale, reduction):
    target, weight = rng.uniform(size=(4, 5)), rng.uniform(size=(4, 5)) if weighted else None
    check(
        *pair("binary_logistic", target=target, weight=weight, reduction=reduction),
        lambda x: F.binary_cross_entropy_with_logits(
            x, torch.tensor(target), None if weight is None else torch.tensor(weight),
            reduction=reduction,
        ),
        x=scale * rng.normal(size=(4, 5)),
    )  # fmt: skip


def test_the_two_logistic_losses_are_one():
    x, t = 50 * rng.normal(size=(4, 5)), np.sign(rng.normal(size=(4, 5)))
    close(topic.logistic(x, t), topic.binary_logistic(x, (t + 1) / 2))
    one, other = (
        f(1.0, x, y)["x"]
        for f, y in ((topic.logistic_backward, t), (topic.binary_logistic_backward, (t + 1) / 2))
    )
    close(one, other)
    two_classes = np.stack([np.zeros_like(x), x], axis=-1).reshape(-1, 2)
    close(topic.cross_entropy(two_classes, (t.ravel() > 0).astype(int)), topic.logistic(x, t))


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_kl_is_that_of_torch(reduction):
    target = linear.softmax(rng.normal(size=(4, 5)))
    target[0] = np.eye(5)[2]
    check(
        *pair("kl", target=target, reduction=reduction),
        lambda x: F.kl_div(x, torch.tensor(target), reduction=reduction),
        x=linear.log_softmax(rng.normal(size=(4, 5))),
    )


def test_kl_of_a_distribution_from_itself_is_zero():
    p = rng.normal(size=(4, 5))
    close(topic.kl(linear.log_softmax(p), linear.softmax(p), reduction="sum"), 0.0, 1e-15)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("margin", [0.0, 0.5, -0.5])
def test_margin_ranking_is_that_of_torch(margin, reduction):
    target = np.sign(rng.normal(size=8))
    check(
        *pair("margin_ranking", target=target, margin=margin, reduction=reduction),
        lambda x, other: F.margin_ranking_loss(
            x, other, torch.tensor(target), margin=margin, reduction=reduction
        ),
        x=rng.normal(size=8), other=np.r_[np.zeros(4), rng.normal(size=4)],
    )  # fmt: skip


def test_margin_ranking_at_its_kink_is_that_of_torch():
    check(
        *pair("margin_ranking", target=np.array([1.0, -1.0]), margin=0.5),
        lambda x, other: F.margin_ranking_loss(x, other, torch.tensor([1.0, -1.0]), margin=0.5),
        x=np.array([0.5, 1.0]), other=np.array([0.0, 1.5]),
    )  # fmt: skip


def test_an_unknown_reduction_is_said():
    for call in (lambda: topic.l2([1.0], [2.0], reduction="average"),
                 lambda: topic.cross_entropy([[1.0]], [0], reduction="average")):  # fmt: skip
        with pytest.raises(UsageError, match="reduction: 'average'"):
            call()
