"""ASPP as a composition, penalties and dropout, and the variance argument of initialization."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_oracle import check, close, tensor

from visus.errors import UsageError
from visus.reference import activation, atrous, regularization
from visus.reference import initialization as init

rng = np.random.default_rng(0)

# ---- atrous pyramid -------------------------------------------------------------------


def parts(outputs, inputs, kernel, kind):
    made = {"weight": rng.normal(size=(outputs, inputs, kernel, kernel)) / kernel}
    if kind == "norm and relu":
        return made | {"gamma": rng.normal(size=outputs), "beta": rng.normal(size=outputs)}
    return made | {"bias": rng.normal(size=outputs), "relu": kind == "relu"}


def theirs(x, unit, rate):
    weight = unit["weight"]
    y = F.conv2d(x, weight, unit.get("bias"), 1, rate * (weight.shape[2] // 2), rate)
    if "gamma" in unit:
        y = F.batch_norm(y, None, None, unit["gamma"], unit["beta"], training=True)
    return torch.relu(y) if unit.get("relu", True) else y


@pytest.mark.parametrize("norm", ["norm and relu", "relu", "bare"])
@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("shape", [(3, 4, 9, 8), (2, 4, 5, 1)], ids=str)
def test_aspp_is_the_composition_in_torch(shape, pooled, norm):
    rates, widths = (1, 2, 6, 12), (2, 3, 2, 1)
    branches = [parts(o, 4, k, norm) for o, k in zip(widths, (1, 3, 3, 3), strict=True)]
    image = parts(2, 4, 1, norm) if pooled else None
    project = parts(5, sum(widths) + 2 * pooled, 1, norm)
    x = rng.normal(size=shape)
    g = rng.normal(size=(shape[0], 5, *shape[2:]))
    leaf = torch.tensor(x, requires_grad=True)
    tree = [
        {k: tensor(v) for k, v in u.items()}
        for u in (*branches, *([image] if image else []), project)
    ]
    seen = [theirs(leaf, u, r) for u, r in zip(tree, rates, strict=False)]
    if pooled:
        seen.append(theirs(leaf.mean((2, 3), keepdim=True), tree[4], 1).expand(-1, -1, *shape[2:]))
    y = theirs(torch.cat(seen, 1), tree[-1], 1)
    y.backward(torch.tensor(g))
    close(atrous.aspp(x, branches, image, project, rates=rates), y.detach(), 1e-11)
    ours = atrous.aspp_backward(g, x, branches, image, project, rates=rates)
    close(ours["x"], leaf.grad, 1e-11)
    units = [*ours["branches"], *([ours["image"]] if pooled else []), ours["project"]]
    for mine, wanted in zip(units, tree, strict=True):
        assert mine.keys() == wanted.keys() - {"relu"}
        for name in mine:
            close(mine[name], wanted[name].grad, 1e-10, name)


def test_a_dilated_kernel_spans_what_the_formula_says():
    image = np.zeros((1, 1, 41, 41))
    image[0, 0, 20, 20] = 1
    for rate in (1, 2, 6):
        y = atrous.unit(image, {"weight": np.ones((1, 1, 3, 3)), "relu": False}, rate=rate)[0, 0]
        rows = np.flatnonzero(y.any(axis=1))
        assert rows[-1] - rows[0] + 1 == atrous.receptive_field(3, rate)
        assert (y != 0).sum() == 9


def test_aspp_that_does_not_fit_is_said():
    x, even = np.zeros((1, 2, 4, 4)), {"weight": np.zeros((2, 2, 2, 2))}
    with pytest.raises(UsageError, match="is even"):
        atrous.unit(x, even)
    with pytest.raises(UsageError, match="1 branches for 2 rates"):
        atrous.aspp(x, [even], None, even, rates=(1, 2))


# ---- regularization -------------------------------------------------------------------


def test_penalties_are_those_of_torch():
    x = np.r_[rng.normal(size=8), 0.0]
    check(
        lambda x: regularization.l2_penalty(x, strength=0.3),
        lambda g, x: regularization.l2_penalty_backward(g, x, strength=0.3),
        lambda x: 0.15 * x.norm() ** 2, x=x,
    )  # fmt: skip
    check(
        lambda x: regularization.l1_penalty(x, strength=0.3),
        lambda g, x: regularization.l1_penalty_backward(g, x, strength=0.3),
        lambda x: 0.3 * x.abs().sum(), x=x,
    )  # fmt: skip


def test_a_step_along_the_l2_penalty_is_weight_decay():
    w = rng.normal(size=5)
    step = w - 0.1 * regularization.l2_penalty_backward(1.0, w, strength=0.4)["x"]
    close(step, (1 - 0.1 * 0.4) * w, 1e-15)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("planes", [False, True])
def test_dropout_is_that_of_torch_with_its_mask(rate, planes):
    x = 1 + rng.uniform(size=(4, 5, 3, 3))
    torch.manual_seed(0)
    drop = F.dropout2d if planes else F.dropout
    leaf = torch.tensor(x, requires_grad=True)
    y = drop(leaf, rate)
    mask = (y != 0).numpy()[..., :1, :1] if planes else (y != 0).numpy()
    close(regularization.dropout(x, mask, rate=rate), y.detach())
    g = rng.normal(size=x.shape)
    y.backward(torch.tensor(g))
    close(regularization.dropout_backward(g, x, mask, rate=rate)["x"], leaf.grad)


def test_dropout_keeps_the_mean():
    mask = rng.uniform(size=(200, 500)) >= 0.3
    assert abs(regularization.dropout(np.ones(mask.shape), mask, rate=0.3).mean() - 1) < 0.01
    with pytest.raises(UsageError, match=r"rate 1\.5"):
        regularization.dropout([1.0], [1.0], rate=1.5)


# ---- initialization -------------------------------------------------------------------

SHAPE = (60, 40, 3, 3)


def test_deviations_are_those_of_torch():
    w = torch.empty(SHAPE, dtype=torch.float64)
    assert init.fans(SHAPE) == torch.nn.init._calculate_fan_in_and_fan_out(w)
    gain = torch.nn.init.calculate_gain("leaky_relu", 0.2)
    torch.manual_seed(0)
    for std, theirs in [
        (init.xavier_std(SHAPE), torch.nn.init.xavier_normal_(w).std()),
        (init.he_std(SHAPE), torch.nn.init.kaiming_normal_(w, nonlinearity="relu").std()),
    ]:
        assert abs(float(theirs) / std - 1) < 0.02
    assert init.he_std(SHAPE, slope=0.2) == pytest.approx(gain / np.sqrt(360), rel=1e-15)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("kind", ["xavier", "he"])
def test_drawn_weights_have_the_deviation_and_the_seed_decides(kind, uniform):
    draw = getattr(init, kind)
    w = draw(SHAPE, np.random.default_rng(3), uniform=uniform)
    std = getattr(init, f"{kind}_std")(SHAPE)
    assert abs(w.std() / std - 1) < 0.01 and abs(w.mean()) < 0.01 * std * 3
    assert (np.abs(w).max() <= np.sqrt(3) * std) == uniform
    close(draw(SHAPE, np.random.default_rng(3), uniform=uniform), w, 0)


def _through(depth, width, draw, act):
    x = rng.normal(size=(200, width))
    before = (x * x).mean()
    for _ in range(depth):
        x = act(x @ draw((width, width)).T)
    return (x * x).mean() / before


@pytest.mark.parametrize(
    ("draw", "act", "low", "high"),
    [
        (lambda s: init.he(s, rng), activation.relu, 0.3, 3),
        (lambda s: init.he(s, rng, slope=0.2), lambda x: activation.leaky_relu(x, slope=0.2), 0.3, 3),
        (lambda s: init.xavier(s, rng), lambda x: x, 0.3, 3),
        (lambda s: init.orthogonal(s, rng), lambda x: x, 0.999999, 1.000001),
        (lambda s: init.xavier(s, rng), activation.relu, 0, 1e-4),
        (lambda s: init.normal(s, rng, std=0.01), activation.relu, 0, 1e-30),
        (lambda s: init.normal(s, rng, std=0.3), activation.relu, 1e10, np.inf),
        (lambda s: init.zero(s), activation.relu, 0, 0),
    ],
    ids=["he-relu", "he-leaky", "xavier-linear", "orthogonal", "xavier-relu dies", "small dies", "large explodes", "zero"],
)  # fmt: skip
def test_the_variance_argument_holds_through_twenty_layers(draw, act, low, high):
    assert low <= _through(20, 200, draw, act) <= high


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 2, 3, 3), (20, 1, 3, 3)], ids=str)
def test_orthogonal_rows_or_columns(shape):
    w = init.orthogonal(shape, rng, gain=2.0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    close(product, 4 * np.eye(len(product)), 1e-13)


def test_fans_of_a_bias_are_said_to_be_none():
    with pytest.raises(UsageError, match="has one axis"):
        init.xavier((5,), rng)
