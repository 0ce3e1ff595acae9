"""Convolution against torch, and its gradients as the convolutions that they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_oracle import check, close

from visus.errors import UsageError
from visus.reference import convolution as topic
from visus.reference.arrays import pad
from visus.reference.convolution import convolution, convolution_backward

THEIRS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@st.composite
def settings_of_a_convolution(draw):
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    few = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, dilation = few(1, 4 if axes < 3 else 2), few(1, 3)
    padding, stride, groups = few(0, 4), few(1, 4), draw(st.sampled_from([1, 1, 2, 3]))
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)
    ]
    size = [n + draw(st.integers(0, 4)) for n in least]
    channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return {
        "x": (draw(st.integers(0, 3)), channels * groups, *size),
        "weight": (outputs * groups, channels, *kernel),
        "options": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 999)),
    }


@settings(max_examples=200, deadline=None)
@given(settings_of_a_convolution())
def test_convolution_is_that_of_torch(case):
    rng = np.random.default_rng(case["seed"])
    args = {"x": rng.normal(size=case["x"]), "weight": rng.normal(size=case["weight"])}
    if case["bias"]:
        args["bias"] = rng.normal(size=case["weight"][0])
    theirs = THEIRS[len(case["x"]) - 2]
    check(
        lambda **a: convolution(**a, **case["options"]),
        lambda g, **a: convolution_backward(g, **a, **case["options"]),
        lambda x, weight, bias=None: theirs(x, weight, bias, **case["options"]),
        **args,
    )


def test_depthwise_and_numbers_for_all_axes():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 5, 9, 8)), rng.normal(size=(5, 1, 3, 3))
    wanted = F.conv2d(torch.tensor(x), torch.tensor(weight), None, 2, 1, 1, 5)
    close(convolution(x, weight, stride=2, padding=1, groups=5), wanted)


def _plain(x, weight):
    return F.conv2d(x, weight)


def test_a_large_mean_costs_no_digits():
    rng = np.random.default_rng(1)
    args = {"x": 1e4 + rng.normal(size=(2, 3, 5, 5)), "weight": rng.normal(size=(2, 3, 3, 3))}
    check(convolution, convolution_backward, _plain, **args)


# ---- the gradients are convolutions ---------------------------------------------------

CASES = [(1, 0, 1), (1, 2, 1), (2, 1, 1), (3, 2, 2), (1, 1, 3), (2, 3, 2)]


@pytest.mark.parametrize(("s", "p", "d"), CASES)
def test_the_gradient_by_x_is_a_convolution_of_the_spread_gradient(s, p, d):
    rng = np.random.default_rng(s + 10 * p)
    k, n = 3, d * 2 + 2 + 2 * s  # with stride, pixels are left over behind the last window
    x, weight = rng.normal(size=(2, 3, n, n)), rng.normal(size=(4, 3, k, k))
    y = convolution(x, weight, stride=s, padding=p, dilation=d)
    g = rng.normal(size=y.shape)
    m = y.shape[-1]
    spread = np.zeros((2, 4, s * (m - 1) + 1, s * (m - 1) + 1))
    spread[:, :, ::s, ::s] = g
    mirrored = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    unseen = n + 2 * p - d * (k - 1) - 1 - s * (m - 1)  # pixels behind the last window
    edge = d * (k - 1) - p
    dx = convolution(pad(spread, [(edge, edge + unseen)] * 2), mirrored, dilation=d)
    close(dx, convolution_backward(g, x, weight, stride=s, padding=p, dilation=d)["x"])
    theirs = F.conv_transpose2d(
        torch.tensor(g), torch.tensor(weight), None, s, p, output_padding=unseen, dilation=d
    )
    close(dx, theirs, what="torch's transposed convolution")


@pytest.mark.parametrize(("s", "p", "d"), CASES)
def test_the_gradient_by_weight_is_a_convolution_with_the_gradient(s, p, d):
    rng = np.random.default_rng(s + 10 * p)
    n = d * 2 + 2 + 2 * s
    x, weight = rng.normal(size=(2, 3, n, n)), rng.normal(size=(4, 3, 3, 3))
    y = convolution(x, weight, stride=s, padding=p, dilation=d)
    g = rng.normal(size=y.shape)
    swapped = convolution(x.swapaxes(0, 1), g.swapaxes(0, 1), stride=d, padding=p, dilation=s)
    dw = swapped.swapaxes(0, 1)[:, :, :3, :3]  # later ones are pixels behind the last window
    close(dw, convolution_backward(g, x, weight, stride=s, padding=p, dilation=d)["weight"])


@pytest.mark.parametrize("groups", [1, 2])
def test_both_gradients_work_with_any_convolution(monkeypatch, groups):
    """All arithmetic of the gradients is in convolutions: torch's serves as well as ours."""
    calls = []

    def slide(x, weight, s, d):
        calls.append((s, d))
        tensors = [torch.tensor(np.ascontiguousarray(a)) for a in (x, weight)]
        return F.conv2d(*tensors, stride=s, dilation=d).numpy()

    monkeypatch.setattr(topic, "_slide", slide)
    rng = np.random.default_rng(3)
    args = {"x": rng.normal(size=(2, 4, 7, 8)), "weight": rng.normal(size=(6, 4 // groups, 3, 2))}
    options = {"stride": (2, 3), "padding": (3, 1), "dilation": (1, 2), "groups": groups}
    check(
        lambda **a: convolution(**a, **options),
        lambda g, **a: convolution_backward(g, **a, **options),
        lambda x, weight: F.conv2d(x, weight, **options),
        **args,
    )
    assert (
        calls
        == [((2, 3), (1, 2))] * groups + [((1, 1), (1, 2))] * groups + [((1, 2), (2, 3))] * groups
    )


def test_what_does_not_fit_is_said():
    x = np.zeros((1, 3, 4, 4))
    with pytest.raises(UsageError, match="does not fit x"):
        convolution(x, np.zeros((2, 2, 3, 3)))
    with pytest.raises(UsageError, match="exceeds the padded"):
        convolution(x, np.zeros((2, 3, 7, 7)))
    with pytest.raises(UsageError, match="stride"):
        convolution(x, np.zeros((2, 3, 3, 3)), stride=(1, 2, 3))
