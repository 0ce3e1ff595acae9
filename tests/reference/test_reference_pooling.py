"""Pooling against torch over window sizes, strides, paddings, dilations and ceil mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch_oracle import check, close

from visus.errors import UsageError
from visus.reference import pooling as p

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@st.composite
def windows(draw, *, dilated):
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    few = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, stride = few(1, 4), few(1, 4)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = few(1, 3) if dilated else (1,) * axes
    size = [
        max(1, d * (k - 1) + 1 - 2 * q) + draw(st.integers(0, 5))
        for k, q, d in zip(kernel, padding, dilation, strict=True)
    ]
    return {
        "shape": (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *size),
        "kernel": kernel,
        "options": {"stride": draw(st.sampled_from([stride, None])), "padding": padding},
        "dilation": {"dilation": dilation} if dilated else {},
        "ceil": draw(st.booleans()),
        "include": draw(st.booleans()),
        "equals": draw(st.booleans()),
        "seed": draw(st.integers(0, 999)),
    }


def _image(case):
    rng = np.random.default_rng(case["seed"])
    if case["equals"]:  # few values: most windows hold several that are largest
        return rng.integers(-1, 2, size=case["shape"]).astype(float)
    return rng.normal(size=case["shape"])


@settings(max_examples=250, deadline=None)
@given(windows(dilated=True))
def test_max_pool_is_that_of_torch(case):
    kernel, options = (
        case["kernel"],
        case["options"] | case["dilation"] | {"ceil_mode": case["ceil"]},
    )
    theirs = MAX[len(kernel)]
    # torch 2.13 writes out of bounds in backward where a window holds no pixel at all
    assume(np.isfinite(p.max_pool(np.zeros(case["shape"]), kernel, **options)).all())
    check(
        lambda x: p.max_pool(x, kernel, **options),
        lambda g, x: p.max_pool_backward(g, x, kernel, **options),
        lambda x: theirs(x, kernel, **options),
        x=_image(case),
    )


@settings(max_examples=250, deadline=None)
@given(windows(dilated=False))
def test_average_pool_is_that_of_torch(case):
    kernel = case["kernel"]
    options = case["options"] | {"ceil_mode": case["ceil"], "count_include_pad": case["include"]}
    theirs = MEAN[len(kernel)]
    if len(kernel) == 3:  # torch's avg_pool3d refuses an image that only its padding makes large
        assume(all(n >= k for n, k in zip(case["shape"][2:], kernel, strict=True)))
    check(
        lambda x: p.average_pool(x, kernel, **options),
        lambda g, x: p.average_pool_backward(g, x, kernel, **options),
        lambda x: theirs(x, kernel, **options),
        x=_image(case),
    )


@pytest.mark.parametrize("value", [0.0, -np.inf, np.inf, np.nan, 1e4])
def test_max_pool_of_a_constant_image(value):
    check(
        lambda x: p.max_pool(x, 3, stride=2, padding=1, ceil_mode=True),
        lambda g, x: p.max_pool_backward(g, x, 3, stride=2, padding=1, ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        x=np.full((2, 2, 6, 5), value),
    )


def test_the_first_of_equals_is_active():
    dx = p.max_pool_backward([[[[5.0]]]], np.array([[[[1.0, 2.0], [2.0, 2.0]]]]), 2)["x"]
    close(dx, [[[[0, 5.0], [0, 0]]]])


def test_a_window_without_pixels_is_minus_infinity_and_passes_nothing_back():
    x = np.ones((1, 1, 1, 1))
    options: dict = {"stride": 1, "padding": 1, "dilation": 2}
    close(p.max_pool(x, 2, **options), [[[[-np.inf]]]])
    close(p.max_pool_backward(np.ones((1, 1, 1, 1)), x, 2, **options)["x"], 0 * x)


def test_windows_that_share_a_winner_add_their_gradients():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    dx = p.max_pool_backward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), x, 2, stride=1)["x"]
    close(dx, 10 * x)


def test_global_average_pool_is_that_of_torch():
    check(
        lambda x: p.global_average_pool(x),
        p.global_average_pool_backward,
        lambda x: F.adaptive_avg_pool2d(x, 1),
        x=np.random.default_rng(0).normal(size=(2, 3, 5, 4)),
    )


def test_what_does_not_fit_is_said():
    with pytest.raises(UsageError, match="exceeds half of kernel"):
        p.max_pool(np.zeros((1, 1, 4, 4)), 2, padding=2)
    with pytest.raises(UsageError, match="window 5 exceeds 4 pixels"):
        p.average_pool(np.zeros((1, 1, 4, 4)), 5)
