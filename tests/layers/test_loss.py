"""The losses against the float64 reference, torch.nn, finite differences and closed forms."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from visus import layers
from visus.errors import UsageError
from visus.reference import linear, loss

SIGNS = np.where(np.arange(15).reshape(5, 3) % 2, 1.0, -1.0)
SHARES = np.random.default_rng(1).dirichlet(np.ones(3), 5)
SMOOTH = {"label_smoothing": 0.1, "ignore_index": 1}

# ours, the reference, its options and targets of scores (5, 3)
PAIRS = {
    "l2": (layers.MSELoss, loss.l2, loss.l2_backward, {}, SHARES),
    "l1": (layers.L1Loss, loss.l1, loss.l1_backward, {}, SHARES),
    "smooth-l1": (layers.SmoothL1Loss, loss.smooth_l1, loss.smooth_l1_backward, {"beta": 0.7}, SHARES),
    "logistic": (
        lambda **k: layers.LogisticLoss(signed=True, **k), loss.logistic, loss.logistic_backward, {}, SIGNS,
    ),
    "binary": (layers.LogisticLoss, loss.binary_logistic, loss.binary_logistic_backward, {}, SHARES),
    "soft": (
        layers.CrossEntropyLoss, loss.cross_entropy, loss.cross_entropy_backward, {"label_smoothing": 0.2}, SHARES,
    ),
    "hard": (
        layers.CrossEntropyLoss, loss.cross_entropy, loss.cross_entropy_backward, SMOOTH, np.array([0, 1, 2, 2, 1]),
    ),
}  # fmt: skip


def scores(scale=1.0, shape=(5, 3)):
    return np.random.default_rng(0).normal(size=shape) * scale


def agrees(make, forward, backward, options, target, reduction, scale=1.0, **weights):
    x = torch.tensor(scores(scale), requires_grad=True)
    given = {k: torch.tensor(v) for k, v in weights.items()}
    y = make(reduction=reduction, **options)(x, torch.tensor(target), **given)
    g = np.random.default_rng(2).normal(size=tuple(y.shape))
    y.backward(torch.tensor(g))
    kind = {**options, **weights, "reduction": reduction}
    size = 1e-12 * max(1, scale)
    np.testing.assert_allclose(
        y.detach(), forward(x.detach(), target, **kind), rtol=1e-12, atol=size
    )
    wanted = backward(g, x.detach(), target, **kind)["x"]
    np.testing.assert_allclose(x.grad, wanted, rtol=1e-12, atol=size)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_the_reference(name, reduction, scale):
    agrees(*PAIRS[name], reduction, scale)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["l2", "l1", "smooth-l1", "logistic"])
def test_weighted_agrees_with_the_reference(name, reduction):
    agrees(*PAIRS[name], reduction, weight=np.random.default_rng(3).uniform(size=(5, 3)))


@pytest.mark.parametrize(
    "target", [torch.tensor([0, 1, 2, -100, 1]), torch.tensor(SHARES)], ids=["hard", "soft"]
)
def test_elements_weighted_one_are_not_weighted(target):
    for classes in (None, torch.tensor([0.2, 1.0, 3.0]).double()):
        for e in (0.0, 0.3):
            ours, peer = (
                kind(classes, label_smoothing=e)
                for kind in (layers.CrossEntropyLoss, nn.CrossEntropyLoss)
            )
            x = torch.tensor(scores())
            torch.testing.assert_close(
                ours(x, target, torch.ones(5).double()), peer(x, target), rtol=1e-13, atol=0
            )


def test_a_weight_is_a_repetition():
    """Integer weights count as so many copies of the sample."""
    x, t = torch.tensor(scores()), torch.tensor([0, 1, 2, 1, 0])
    count = torch.tensor([1, 0, 3, 2, 1])
    for kind in (
        layers.CrossEntropyLoss(),
        layers.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]).double()),
    ):
        wanted = kind(x.repeat_interleave(count, 0), t.repeat_interleave(count))
        torch.testing.assert_close(kind(x, t, count.double()), wanted)
    soft = torch.tensor(SHARES)
    for name in ("l1", "l2", "smooth-l1", "kl"):
        kind = layers.losses.make(name)
        wanted = kind(x.repeat_interleave(count, 0), soft.repeat_interleave(count, 0))
        torch.testing.assert_close(kind(x, soft, count.double()), wanted)


def test_weight_of_another_shape_is_refused_in_one_line():
    x = torch.zeros(5, 3)
    for weight in (torch.ones(3), torch.ones(5, 3, 1), torch.ones(4)):
        with pytest.raises(UsageError, match="give one factor a sample") as caught:
            layers.MSELoss()(x, x, weight)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="give mean, sum or none"):
        layers.KLLoss(reduction="average")


def test_dense_targets_and_ignored_pixels():
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    t = torch.randint(4, (2, 3, 5))
    t[0, 0] = 7
    ours, peer = (
        k(ignore_index=7, label_smoothing=0.1)
        for k in (layers.CrossEntropyLoss, nn.CrossEntropyLoss)
    )
    assert torch.equal(ours(x, t), peer(x, t))
    weight = torch.rand(2, 3, 5).double()
    kept = (t != 7).nonzero(as_tuple=True)
    flat = layers.CrossEntropyLoss(label_smoothing=0.1)(
        x.movedim(1, -1)[kept], t[kept], weight[kept]
    )
    torch.testing.assert_close(ours(x, t, weight), flat)


def test_labels_of_both_kinds_are_one_loss():
    x = torch.tensor(scores(1e4), requires_grad=True)
    signed, plain = layers.LogisticLoss(signed=True), layers.LogisticLoss()
    a, b = signed(x, torch.tensor(SIGNS)), plain(x, torch.tensor((SIGNS + 1) / 2))
    torch.testing.assert_close(a, b, rtol=1e-15, atol=0)
    da, db = (torch.autograd.grad(v, x)[0] for v in (a, b))
    torch.testing.assert_close(da, db, rtol=1e-12, atol=1e-14)
    integer = layers.LogisticLoss(signed=True)(x, torch.tensor(SIGNS).long())
    assert torch.equal(integer, a)


def test_divergence_from_the_reference_with_zeros_in_p():
    p = np.array([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    x = torch.tensor(scores(shape=(3, 3)), requires_grad=True)
    log_q = linear.log_softmax(x.detach(), axis=1)
    y = layers.KLLoss()(x, torch.tensor(p))
    np.testing.assert_allclose(
        float(y.detach()), loss.kl(log_q, p, reduction="batchmean"), rtol=1e-13
    )
    y.backward()
    np.testing.assert_allclose(x.grad, (linear.softmax(x.detach(), axis=1) - p) / 3, atol=1e-15)
    exact = torch.tensor(p).clamp_min(1e-300).log()
    assert abs(float(layers.KLLoss()(exact, torch.tensor(p)))) < 1e-15


def test_ranking_agrees_with_the_reference():
    a, b = (torch.tensor(v, requires_grad=True) for v in (scores()[:, 0], scores()[:, 1]))
    t = torch.tensor(SIGNS[:, 0])
    y = layers.MarginRankingLoss(0.5)(a, b, t)
    given = (a.detach(), b.detach(), t)
    np.testing.assert_allclose(
        float(y.detach()), loss.margin_ranking(*given, margin=0.5), rtol=1e-13
    )
    y.backward()
    wanted = loss.margin_ranking_backward(1.0, *given, margin=0.5)
    np.testing.assert_allclose(a.grad, wanted["x"], rtol=1e-13)
    np.testing.assert_allclose(b.grad, wanted["other"], rtol=1e-13)
    assert float(layers.MarginRankingLoss(0.5)(a, b, t, torch.zeros(5).double().index_fill(0, torch.tensor([2]), 4.0))) == float(
        layers.MarginRankingLoss(0.5, reduction="none")(a, b, t)[2])  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_first_and_second_derivatives(name):
    make, _, _, options, target = PAIRS[name]
    x = torch.tensor(scores(), requires_grad=True)

    def run(x):
        return make(**options)(x, torch.tensor(target))

    assert torch.autograd.gradcheck(run, x) and torch.autograd.gradgradcheck(run, x)


def test_copies_compile_and_half():
    x, t = torch.tensor(scores()).float(), torch.tensor([0, 1, 2, 1, 0])
    kind = layers.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]), label_smoothing=0.1)
    w = torch.rand(5)
    for twin in (
        copy.deepcopy(kind),
        pickle.loads(pickle.dumps(kind)),
        torch.compile(kind, fullgraph=True, backend="eager"),
    ):
        assert torch.equal(twin(x, t, w), kind(x, t, w))
    peer = nn.CrossEntropyLoss()
    peer.load_state_dict(layers.CrossEntropyLoss().state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        y = layers.LogisticLoss()(nn.Linear(3, 3)(x), torch.tensor(SHARES))
    assert torch.isfinite(y)
