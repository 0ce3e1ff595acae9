"""The four passes of the C++ kernels against the same passes in float64 by PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from visus import kernels
from visus.kernels import FLOATS, cpp_backend, torch_backend
from visus.layers.norm import SwitchNorm2d

pytestmark = pytest.mark.skipif(kernels.load("cpp")[0] is None, reason="no C++ kernels here")

SHAPES = [
    (4, 16, 9, 9),
    (3, 5, 40, 41),
    (6, 70),
    (2, 130, 7),
    (1, 3, 2, 2),
    (1, 2, 89, 101),
    (2, 600, 5, 3),
]
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-13, torch.bfloat16: 8e-3, torch.float16: 1e-3}


def tensors(shape, last, dtype, mean):
    """x and g in a layout, and their float64 copies."""
    x, g = torch.randn(shape) + mean, torch.randn(shape)
    if last and len(shape) > 2:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    x, g = x.to(dtype), g.to(dtype)
    return x, g, x.double(), g.double()


def close(ours, exact, dtype, spread=0.0):
    """Rounding next to the largest number, or to how far those spread that were summed."""
    assert ours.shape == exact.shape
    scale = max(float(exact.abs().max()), spread, 1e-300)
    assert float((ours - exact).abs().max()) <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_moments(mean, last, dtype):
    for shape in SHAPES:
        x, _, exact, _ = tensors(shape, last, dtype, mean)
        high, low, var = cpp_backend.moments(x)
        planes = exact.reshape(*shape[:2], -1)
        small = torch.float64 if dtype == torch.float64 else torch.float32
        assert high.dtype == low.dtype == var.dtype == small
        fine = torch.float64 if dtype == torch.float64 else torch.float32
        close(high.double() + low, planes.mean(2), fine, spread=1.0)
        close(var, planes.var(2, correction=0), torch.float64 if mean == 0 and dtype == torch.float64 else torch.float32)  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("act", kernels.ACTS)
def test_apply_sums_and_write(act, dtype):
    for shape, last, mean in itertools.product(SHAPES, (False, True), (0.0, 1000.0)):
        x, g, exact, fine = tensors(shape, last, dtype, mean)
        n, c = shape[:2]
        kind = torch_backend.computing(x)
        center = exact.reshape(n, c, -1).mean(2)
        high = center.to(kind)
        numbers: Any = [high, (center - high).to(kind), torch.rand(n, c) + 0.5, torch.randn(1, c)]
        more: Any = [torch.randn(c), torch.randn(n, c), torch.randn(n, 1).expand(n, c)]
        doubles: Any = [t.double() for t in numbers]
        mores: Any = [t.double() for t in more]
        y = cpp_backend.apply(x, *numbers, act, 0.3)
        assert y.dtype == dtype and y.stride() == x.stride()
        close(y, torch_backend.apply(exact, *doubles, act, 0.3), dtype)
        sums = cpp_backend.sums(g, x, *numbers, act, 0.3)
        for ours, theirs in zip(sums, torch_backend.sums(fine, exact, *doubles, act, 0.3), strict=True):  # fmt: skip
            spread = x[0, 0].numel() ** 0.5  # a sum may come near 0
            close(ours, theirs, torch.float64 if dtype == torch.float64 else torch.float32, spread)
        dx = cpp_backend.write(g, x, *numbers, *more, act, 0.3)
        close(dx, torch_backend.write(fine, exact, *doubles, *mores, act, 0.3), dtype)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_samples_and_channels(threads):
    before, x = torch.get_num_threads(), torch.randn(1, 7, 5, 6)
    try:
        torch.set_num_threads(threads)
        _, _, var = cpp_backend.moments(x)
    finally:
        torch.set_num_threads(before)
    close(var, x.double().flatten(2).var(2, correction=0), torch.float32)


def test_a_norm_written_in_python_runs_on_them(monkeypatch):
    used = []
    monkeypatch.setattr(cpp_backend, "_pass", lambda kind, *a, real=cpp_backend._pass, **k: (used.append(kind), real(kind, *a, **k))[1])  # fmt: skip
    x = torch.randn(3, 4, 5, 5, requires_grad=True)
    SwitchNorm2d(4, act="relu")(x).square().sum().backward()
    assert used == [cpp_backend.MOMENTS, cpp_backend.APPLY, cpp_backend.SUMS, cpp_backend.WRITE]
