"""The max-pool kernel gives torch's numbers bit for bit, forward and backward, and its derivatives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from visus.kernels import load, pool
from visus.layers import MaxPool2d

pytestmark = pytest.mark.skipif(load("cpp")[0] is None, reason="no C++ kernels here")

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
# kernel, stride, padding, dilation, ceil mode
WINDOWS = [
    (2, 2, 0, 1, False), (2, 2, 0, 1, True), (3, 2, 1, 1, False), (3, 1, 1, 1, False), (2, 1, 0, 2, True),
    ((3, 2), (2, 3), (1, 0), (2, 1), True), (1, 1, 0, 1, False), ((1, 5), 3, (0, 2), 1, False), (3, 3, 0, 1, False),
    (2, 3, 1, 1, False), (5, 2, 2, 2, False),
]  # fmt: skip
SHAPES = [(2, 3, 12, 70), (1, 17, 9, 13), (2, 64, 10, 8), (3, 1, 33, 64), (1, 5, 40, 40)]


pooled = partial(pool.max_pool2d, always=True)


def once(run, x, window, g=None):
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = run(leaf, *window)
    y.backward(
        torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)
        if g is None
        else g
    )
    return y.detach(), leaf.grad


def same_bits(ours, torchs):
    assert ours.shape == torchs.shape and ours.dtype == torchs.dtype
    assert 1 in ours.shape or ours.stride() == torchs.stride()
    number = {2: torch.int16, 4: torch.int32, 8: torch.int64}[ours.element_size()]
    apart = ours.contiguous().view(number) != torchs.contiguous().view(number)
    apart &= ~(ours.isnan() & torchs.isnan()).contiguous()  # any NaN is as good as another
    assert not apart.any(), f"{int(apart.sum())} of {apart.numel()} differ"


def equal(x, window):
    for ours, torchs in zip(once(pooled, x, window), once(F.max_pool2d, x, window), strict=True):
        same_bits(ours, torchs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_bits_of_torch(window, layout, dtype):
    for shape in SHAPES:
        equal(torch.randn(shape).to(dtype).to(memory_format=LAYOUTS[layout]), window)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_equals_zeros_infinities_and_not_a_number(window, layout):
    draw = torch.Generator().manual_seed(0)
    values = torch.tensor([0.0, -0.0, 1.0, -torch.inf, torch.inf, torch.nan])
    for chosen in (values[:3], values[:5], values, values[3:4], values[5:]):
        for shape in ((2, 33, 12, 40), (1, 3, 7, 9)):
            x = chosen[torch.randint(len(chosen), shape, generator=draw)]
            equal(x.to(memory_format=LAYOUTS[layout]), window)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_every_width(window):
    """Vectors, their ends and the edges of the image meet in all ways."""
    for height, width in ((h, w) for h in (6, 9) for w in range(9, 36)):
        equal(torch.randn(1, 3, height, width), window)


@pytest.mark.parametrize("window", [(2,), (3, 2, 1), (2, 1, 0, 2)], ids=str)
def test_strided_small_and_empty(window):
    wide = torch.randn(2, 6, 20, 44)
    for x in (
        wide[:, ::2, 1::2, ::3],
        wide.transpose(2, 3),
        wide[:, :, :4, :4],
        wide[:, :, :3, :3],
        wide[:0],
    ):
        assert torch.equal(pooled(x, *window), F.max_pool2d(x, *window))
    x = torch.randn(1, 4, 1, 1)
    assert torch.equal(pooled(x, 3, 2, 1), x)
    with pytest.raises(RuntimeError):
        pooled(x, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_derivatives(window, layout):
    x = torch.randperm(2 * 3 * 9 * 7).reshape(2, 3, 9, 7).double() / 10
    x = x.to(memory_format=LAYOUTS[layout]).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: pooled(t, *window), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda t: pooled(t, *window), x, fast_mode=True)


def test_it_keeps_one_byte_a_window():
    x, kept = torch.randn(4, 16, 64, 64, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        MaxPool2d(2)(x).sum().backward()
    assert [(t.dtype, t.numel()) for t in kept if t.dtype == torch.uint8][:1] == [
        (torch.uint8, 65536)
    ]
    assert x.shape not in [t.shape for t in kept], "the input is not kept"


def test_two_threads_and_transforms():
    x, threads = torch.randn(3, 160, 20, 20), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for memory in LAYOUTS.values():
            for window in WINDOWS:
                equal(x.to(memory_format=memory), window)
    finally:
        torch.set_num_threads(threads)
    for transform in (torch.func.vmap, lambda f: torch.func.grad(lambda t: f(t).sin().sum())):
        assert torch.equal(transform(MaxPool2d(2))(x), transform(torch.nn.MaxPool2d(2))(x))
    _, tangent = torch.func.jvp(MaxPool2d(2), (x,), (x,))
    assert torch.equal(tangent, F.max_pool2d(x, 2))


def test_a_window_without_a_pixel_gets_minus_infinity_and_gives_nothing():
    x = torch.randn(1, 1, 3, 3, requires_grad=True)
    window = (2, 1, 1, 4)  # the pixels that are 4 apart lie around the image
    y = pooled(x, *window)
    y.sum().backward()
    assert torch.equal(y.detach(), F.max_pool2d(x.detach(), *window))
    assert x.grad is not None and x.grad.sum() == torch.isfinite(y).sum()


@pytest.mark.parametrize("given", [{"return_indices": True}, {"ceil_mode": True}])
def test_the_layer_is_torchs(given):
    x = torch.randn(2, 3, 9, 9)
    ours, torchs = MaxPool2d(2, **given)(x), torch.nn.MaxPool2d(2, **given)(x)
    for a, b in zip(ours, torchs, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(MaxPool2d(2)(x[0]), F.max_pool2d(x[0], 2))
