"""Evaluation against plain computations; the Wilson interval against its definition."""

from __future__ import annotations

import math

import pytest
import tiny_data
import torch
from torch import nn

from visus.training import evaluate, wilson
from visus.training.evaluate import Evaluation


def model(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes), nn.Dropout(0.5))


def test_numbers_are_those_of_one_plain_pass():
    data, net = tiny_data.blobs(), model()
    found = evaluate(net, data.train, batch_size=7)
    net.eval()
    logits = net(data.train.pixels.float() / 255).detach()
    targets = data.train.targets
    torch.testing.assert_close(found.probabilities, logits.softmax(1))
    assert found.loss == pytest.approx(
        float(nn.functional.cross_entropy(logits, targets)), rel=1e-5
    )
    assert found.error == pytest.approx(float((logits.argmax(1) != targets).double().mean()))
    assert len(found) == 64 and found.names[5] == "image-5"


def test_modes_and_generators_stay():
    net = model()
    net[2].eval()
    state = torch.get_rng_state()
    evaluate(net, tiny_data.blobs().train)
    assert net.training and not net[2].training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in net.parameters())


def test_flip_is_the_mean_over_the_mirror_image():
    data, net = tiny_data.blobs(), model().eval()
    x = data.train.pixels.float() / 255
    expected = (net(x).softmax(1) + net(x.flip(3)).softmax(1)) / 2
    found = evaluate(net, data.train, flip=True)
    torch.testing.assert_close(found.probabilities, expected.detach())
    nll = nn.functional.nll_loss(expected.log(), data.train.targets)
    assert found.loss == pytest.approx(float(nll.detach()), rel=1e-5)


def test_some_images_none_and_one():
    data, net = tiny_data.blobs(), model()
    part = evaluate(net, data.train, indices=torch.tensor([3, 9]))
    assert part.names == ["image-3", "image-9"] and len(part.targets) == 2
    one = evaluate(net, data.train, indices=torch.tensor([3]))
    assert one.error in (0.0, 1.0)
    none = evaluate(net, data.train, indices=torch.tensor([], dtype=torch.int64))
    assert math.isnan(none.error) and math.isnan(none.loss) and none.interval == (0.0, 1.0)
    assert none.mistakes() == []


def known() -> Evaluation:
    probabilities = torch.tensor([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.3, 0.7, 0]])
    return Evaluation(probabilities, torch.tensor([0, 0, 1, 1]), list("abcd"), 0.5)


def test_confusion_per_class_and_mistakes_by_hand():
    found = known()
    assert found.confusion() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    rows = found.per_class(["x", "y", "z"])
    assert rows[0] == {"class": "x", "precision": 0.5, "recall": 0.5, "n": 2}
    assert rows[2] == {"class": "z", "precision": None, "recall": None, "n": 0}
    worst = found.mistakes(5)
    assert [row["name"] for row in worst] == ["b", "c"]
    assert worst[0]["predicted"] == 1 and worst[0]["label"] == 0 and worst[0]["index"] == 1
    assert worst[0]["probability"] == pytest.approx(0.8)
    assert len(found.mistakes(1)) == 1


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (150, 10_000), (1, 1)])
def test_wilson_ends_are_where_the_normal_test_is_on_the_edge(k, n):
    z = 1.959964
    for p in wilson(k, n):
        if 1e-9 < p < 1 - 1e-9:
            assert abs(k / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), rel=1e-6)
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1 and high > low
