"""Planes and rows around the widths of vectors, blocks and tiles: PyTorch's own norms in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from visus.layers import norm

# Planes of fewer numbers than a vector, of whole vectors, of a few more; channels not by fours.
PLANES = [(1, 2), (1, 3), (2, 2), (1, 7), (2, 4), (3, 3), (4, 4), (1, 17), (7, 7), (8, 8), (1, 63), (8, 16), (3, 43)]  # fmt: skip
CHANNELS = (3, 6, 66)


def per_sample(x, weight, bias, groups):
    return F.group_norm(x, groups, weight, bias)


def mixed(x, module):
    """BIN by its definition: the gate between batch and instance norm."""
    shape = (1, -1, 1, 1)

    def hat(axes):
        mean, var = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
        return (x - mean) / (var + module.eps).sqrt()

    gate = module.gate.view(shape)
    y = gate * hat((0, 2, 3)) + (1 - gate) * hat((2, 3))
    return y * module.weight.view(shape) + module.bias.view(shape)


MAKE = {
    "batch": (norm.BatchNorm2d, lambda x, m: F.batch_norm(x, None, None, m.weight, m.bias, True)),
    "instance": (lambda c: norm.InstanceNorm2d(c, affine=True), lambda x, m: per_sample(x, m.weight, m.bias, x.shape[1])),
    "group": (lambda c: norm.GroupNorm(3, c), lambda x, m: per_sample(x, m.weight, m.bias, 3)),
    "one group": (lambda c: norm.GroupNorm(1, c), lambda x, m: per_sample(x, m.weight, m.bias, 1)),
    "batch-instance": (norm.BatchInstanceNorm2d, mixed),
}  # fmt: skip


def compare(module, peer, shape, act, layout=torch.contiguous_format):
    """Our float32 and float64 against the peer's float64, forward and all gradients."""
    x, g = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
    for p in module.parameters():
        nn.init.uniform_(p, 0.2, 0.9)
    module.double()
    given = x.clone().requires_grad_()
    y = peer(given, module)
    y = getattr(y, act)() if act else y
    expected = [y.detach(), *torch.autograd.grad(y, [given, *module.parameters()], g)]
    for dtype, close in ((torch.float64, 1e-11), (torch.float32, 2e-4)):
        module.to(dtype)
        mine = x.to(dtype).contiguous(memory_format=layout).requires_grad_()
        y = module(mine)
        found = [y, *torch.autograd.grad(y, [mine, *module.parameters()], g.to(dtype))]
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(
                a.double(), b, rtol=close, atol=close * float(1 + b.abs().max())
            )


@pytest.mark.parametrize("act", [None, "relu"])
@pytest.mark.parametrize("size", PLANES, ids=str)
@pytest.mark.parametrize("name", MAKE)
def test_small_planes(name, size, act):
    torch.manual_seed(3)
    make, peer = MAKE[name]
    for channels in CHANNELS:
        module = make(channels)
        module.act = act
        compare(module, peer, (3, channels, *size), act)


# Channels-last samples: weight and bias are turned, by tiles and blocks that these do not fill.
SAMPLES = [(3, 2, 3), (8, 2, 4), (9, 1, 17), (66, 5, 13), (130, 4, 16), (64, 16, 17), (40, 20, 21)]


@pytest.mark.parametrize("act", [None, "relu"])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_turned_weights(sample, act):
    torch.manual_seed(4)
    peer = lambda x, m: F.layer_norm(x, sample, m.weight, m.bias)  # noqa: E731
    module = norm.LayerNorm(sample)
    module.act = act
    compare(module, peer, (5, *sample), act, torch.channels_last)


# Long rows: one and two of them, an odd end, from 8 on each written while the next is read, and so long that
# backward goes over the columns of all rows at once; the last are written past the caches.
ROWS = [(1, 16384), (2, 16391), (9, 70001), (8, 65536), (1, 490001), (3, 490001), (8, 524288)]


@pytest.mark.parametrize("act", [None, "relu", "tanh"])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_long_rows(shape, act):
    torch.manual_seed(5)
    module = norm.LayerNorm(shape[1])
    module.act = act
    compare(module, lambda x, m: F.layer_norm(x, shape[1:], m.weight, m.bias), shape, act)


@pytest.mark.parametrize("shape", [(9, 66, 33, 35), (3, 64, 90, 91)], ids=str)
def test_long_turned_rows(shape):
    torch.manual_seed(6)
    module = norm.LayerNorm(shape[1:])
    module.act = "relu"
    compare(module, lambda x, m: F.layer_norm(x, shape[1:], m.weight, m.bias), shape, "relu", torch.channels_last)  # fmt: skip


def results(module, x, g):
    """y, and the gradients of x and of the parameters."""
    x = x.clone().requires_grad_()
    y = module(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], g)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(9, 140001), (3, 700001)], ids=str)
def test_long_rows_in_half_precision(shape, dtype):
    torch.manual_seed(7)
    module, (x, g) = norm.LayerNorm(shape[1]), torch.randn(2, *shape).to(dtype)
    found = results(module, x, g)
    expected = results(nn.LayerNorm(shape[1]).double(), x.double(), g.double())
    for a, b, close in zip(found, expected, (0.01, 0.01, 1e-5, 1e-5), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=close, atol=close * float(1 + b.abs().max()))


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("shape", [(9, 70001), (3, 490001)], ids=str)
def test_long_rows_are_as_exact_as_torch(shape, mean):
    torch.manual_seed(8)
    x, g = torch.randn(shape) + mean, torch.randn(shape)
    theirs = nn.LayerNorm(shape[1])
    exact = results(nn.LayerNorm(shape[1]).double(), x.double(), g.double())
    for a, b, c in zip(results(norm.LayerNorm(shape[1]), x, g), results(theirs, x, g), exact, strict=True):  # fmt: skip
        ours, torchs = (float((t.double() - c).abs().max()) for t in (a, b))
        assert ours <= 2 * torchs + 1e-6 * float(c.abs().max())


@pytest.mark.parametrize("shape", [(3, 16384), (9, 70001), (3, 490001)], ids=str)
def test_long_rows_shared_by_threads(shape):
    """Also by more threads than there are stretches of columns; twice the same bits."""
    torch.manual_seed(9)
    module, (x, g) = norm.LayerNorm(shape[1]), torch.randn(2, *shape)
    before, one = torch.get_num_threads(), results(module, x, g)
    try:
        for threads in (2, 3, 32):
            torch.set_num_threads(threads)
            found = results(module, x, g)
            for a, b, c in zip(found, results(module, x, g), one, strict=True):
                assert a.equal(b)
                torch.testing.assert_close(a, c, rtol=1e-5, atol=2e-5)
    finally:
        torch.set_num_threads(before)
