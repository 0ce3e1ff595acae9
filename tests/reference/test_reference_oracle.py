"""The comparison with torch sees a wrong value, a wrong gradient, a wrong shape and a NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_oracle import check, close

from visus.reference.activation import tanh, tanh_backward

x = np.linspace(-2, 2, 12).reshape(3, 4)


def test_a_right_pair_passes():
    check(lambda x: tanh(x), tanh_backward, lambda x: torch.tanh(x), x=x)


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda x: tanh(x) * (1 + 1e-11), tanh_backward),
        (tanh, lambda g, x: {"x": tanh_backward(g, x)["x"] * (1 + 1e-11)}),
        (tanh, lambda g, x: {"x": tanh_backward(g, x)["x"][:1]}),
        (lambda x: tanh(x).ravel(), tanh_backward),
        (lambda x: np.where(x < -1.9, np.nan, tanh(x)), tanh_backward),
    ],
    ids=["value", "gradient", "gradient's shape", "shape", "nan"],
)
def test_a_wrong_pair_is_seen(forward, backward):
    with pytest.raises(AssertionError):
        check(forward, backward, lambda x: torch.tanh(x), x=x)


def test_close_is_relative_to_the_largest_value():
    close(np.array([1e4 + 1e-9]), np.array([1e4]))
    with pytest.raises(AssertionError):
        close(np.array([1 + 1e-9]), np.array([1.0]))
