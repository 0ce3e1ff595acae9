"""Linear, softmax and its logarithm against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch.nn.functional as F
from torch_oracle import check, close

from visus.reference import linear as topic

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 4), (1, 4), (0, 4), (2, 3, 4), (4,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_that_of_torch(shape, bias):
    args = {"x": rng.normal(size=shape), "weight": rng.normal(size=(3, 4))}
    if bias:
        args["bias"] = rng.normal(size=3)
    theirs = lambda x, weight, bias=None: F.linear(x, weight, bias)  # noqa: E731
    check(topic.linear, topic.linear_backward, theirs, **args)


@pytest.mark.parametrize("axis", [1, -1, 0])
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_softmax_is_that_of_torch(kind, axis, shift, scale):
    forward, backward = getattr(topic, kind), getattr(topic, f"{kind}_backward")
    check(
        lambda x: forward(x, axis=axis),
        lambda g, x: backward(g, x, axis=axis),
        lambda x: getattr(F, kind)(x, dim=axis),
        x=shift + scale * rng.normal(size=(4, 5, 3)),
    )


def test_probabilities_sum_to_one_and_ignore_a_shift():
    x = rng.normal(size=(6, 9))
    y = topic.softmax(x)
    close(y.sum(axis=1), np.ones(6), 1e-14)
    close(topic.softmax(x + 3), y, 1e-14)
    close(topic.log_softmax([[0.0, 1e5]]), [[-1e5, 0.0]])
