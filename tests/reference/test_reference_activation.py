"""Activations against torch, at ordinary points, at the kinks and far out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_oracle import check, close

from visus.errors import UsageError
from visus.reference import activation as a

PAIRS = {
    "sigmoid": (a.sigmoid, a.sigmoid_backward, torch.sigmoid),
    "tanh": (a.tanh, a.tanh_backward, torch.tanh),
    "relu": (a.relu, a.relu_backward, torch.relu),
    "leaky": (
        lambda x: a.leaky_relu(x, slope=0.2),
        lambda g, x: a.leaky_relu_backward(g, x, slope=0.2),
        lambda x: F.leaky_relu(x, 0.2),
    ),
    "elu": (
        lambda x: a.elu(x, alpha=1.5),
        lambda g, x: a.elu_backward(g, x, alpha=1.5),
        lambda x: F.elu(x, 1.5),
    ),
    "maxout": (
        lambda x: a.maxout(x, 3),
        lambda g, x: a.maxout_backward(g, x, 3),
        lambda x: x.unflatten(1, (-1, 3)).amax(2),
    ),
}
rng = np.random.default_rng(0)
INPUTS = {
    "normal": rng.normal(size=(4, 6, 5, 3)),
    "wide": 1e4 * rng.normal(size=(4, 6)),
    "shifted": 1e4 + rng.normal(size=(2, 6, 3)),
    "tiny": 1e-300 * rng.normal(size=(2, 6)),
    "zeros": np.zeros((2, 6)),
    "signed zeros": np.array([[0.0, -0.0, 1.0, -1.0, 0.0, 5.0]]),
    "infinite": np.array([[np.inf, -np.inf, 800.0, -800.0, 40.0, -40.0]]),
    "empty": np.zeros((0, 6, 2, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("given", INPUTS)
def test_activation_is_that_of_torch(name, given):
    if name == "maxout" and "zeros" in given:
        pytest.skip("torch shares the gradient among equal pieces; ours is tested below")
    forward, backward, theirs = PAIRS[name]
    check(lambda x: forward(x), backward, lambda x: theirs(x), x=INPUTS[given])


@pytest.mark.parametrize("name", ["relu", "maxout"])
def test_nan_is_kept(name):
    x = np.array([[np.nan, 1.0, 2.0]])
    assert np.isnan(PAIRS[name][0](x)).any()


def test_maxout_gives_the_gradient_to_the_first_of_equals():
    x = np.array([[1.0, 3.0, 3.0, 0.0, 0.0, 0.0]])
    close(a.maxout_backward(np.array([[5.0, 7.0]]), x, 3)["x"], [[0, 5.0, 0, 7.0, 0, 0]])


def test_maxout_can_be_relu_and_absolute_value():
    x = rng.normal(size=(5, 4))
    pairs = np.stack([np.zeros_like(x), x], axis=2).reshape(5, 8)
    close(a.maxout(pairs, 2), a.relu(x))
    close(a.maxout(np.stack([-x, x], axis=2).reshape(5, 8), 2), np.abs(x))


def test_saturated_gradients_keep_their_digits():
    far = np.array([40.0, -40.0])
    close(a.sigmoid_backward(1.0, far)["x"] / np.exp(-40.0), [1.0, 1.0], 1e-14)
    close(a.tanh_backward(1.0, far)["x"] / (4 * np.exp(-80.0)), [1.0, 1.0], 1e-14)


def test_maxout_that_does_not_split_is_said():
    with pytest.raises(UsageError, match="does not split into 4"):
        a.maxout(np.zeros((1, 6)), 4)
