"""The sweep that hurts: what no public suite tries, against the float64 reference.

PyTorch's own inputs are all near mean 0: a batch norm with the variance E[x^2] - E[x]^2
passes every one of them. Here each norm meets mean / std from 0 to 10^4, constant planes,
planes of one pixel, empty batches, odd sizes, strided and channels-last input, and half
precision; and the relations that hold between norms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from suites import Mismatch
from torch import nn

from visus import reference as R
from visus.layers import norm as layers

N = R.normalization
C, GROUPS = 6, 2  # groups of two pixels would be all cancellation

# Each norm: how to make it from a namespace, and its reference (forward, backward).
NORMS: dict[str, tuple[Any, Any, Any]] = {
    "batch": (lambda nn: nn.BatchNorm2d(C), N.batch_norm, N.batch_norm_backward),
    "instance": (
        lambda nn: nn.InstanceNorm2d(C, affine=True), N.instance_norm, N.instance_norm_backward,
    ),
    "group": (
        lambda nn: nn.GroupNorm(GROUPS, C),
        lambda x, *p, **k: N.group_norm(x, GROUPS, *p, **k),
        lambda g, x, *p, **k: N.group_norm_backward(g, x, GROUPS, *p, **k),
    ),
    "layer": (
        lambda nn: nn.GroupNorm(1, C), N.layer_norm, N.layer_norm_backward,
    ),
}  # fmt: skip
RATIOS = [0.0, 1.0, 30.0, 1000.0, 10000.0]
LAYOUTS = ["contiguous", "channels-last", "strided"]
SHAPES = [(4, C, 8, 8), (3, C, 5, 7), (5, C, 1, 1), (1, C, 9, 3), (2, C, 33, 31)]


def draw(shape, ratio, dtype, layout):
    generator = torch.Generator().manual_seed(sum(shape) + int(ratio))
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = (x + ratio * torch.linspace(0.5, 1, C, dtype=torch.float64).reshape(1, C, 1, 1)).to(dtype)
    if layout == "channels-last":
        return x.contiguous(memory_format=torch.channels_last)
    return torch.stack([x, x + 1], -1)[..., 0] if layout == "strided" else x


def trained(module, dtype):
    """Weights that are not the defaults, in `dtype`."""
    with torch.no_grad():
        module.weight.copy_(torch.linspace(0.5, 1.5, C))
        module.bias.copy_(torch.linspace(-1, 1, C))
    return module.to(dtype)


def relative(ours, theirs):
    """The largest error in units of the reference's root mean square; NaN never passes."""
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise Mismatch(f"shape {ours.shape}, expected {theirs.shape}")
    if not ours.size:
        return 0.0
    size = float(np.sqrt(np.mean(theirs**2))) + 1e-30
    worst = float(np.abs(ours - theirs).max()) / size
    return worst if np.isfinite(worst) else float("inf")


def errors(name, nn_like, x):
    """Errors of y, dx, dweight and dbias against the reference for the very same x."""
    make, forward, backward = NORMS[name]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    module = trained(make(nn_like), wide if x.dtype.itemsize >= 4 else x.dtype)
    gamma, beta = (t.detach().double().numpy() for t in (module.weight, module.bias))
    x = x.detach().requires_grad_()
    y = module(x)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(9)).to(y.dtype)
    y.backward(g)
    X, G = x.detach().double().numpy(), g.double().numpy()
    grads = backward(G, X, gamma, beta)
    return {
        "y": relative(y.detach().double(), forward(X, gamma, beta)),
        "dx": relative(x.grad.double(), grads["x"]),
        "dweight": relative(module.weight.grad.double(), grads["gamma"]),
        "dbias": relative(module.bias.grad.double(), grads["beta"]),
    }


def limit(dtype, ratio, quantity):
    """What rounding allows, in units of the result; float64 has no wider type for its mean."""
    unit = torch.finfo(dtype).eps * (1 if dtype.itemsize < 4 else 8)
    unit *= 1 + ratio if dtype == torch.float64 else 1
    return {"y": 8 * unit, "dbias": 8 * unit}.get(quantity, 64 * unit)


def sweep(name, nn_like, dtype, ratio, layout):
    """Raise `Mismatch` where a norm of the namespace is off."""
    for shape in SHAPES:
        if name in ("instance",) and shape[2] * shape[3] == 1:
            continue  # torch.nn refuses it in training, and so do we
        found = errors(name, nn_like, draw(shape, ratio, dtype, layout))
        bad = {k: e for k, e in found.items() if not e <= limit(dtype, ratio, k)}
        if bad:
            raise Mismatch(f"{name} {shape} {dtype} {layout} mean/std {ratio:g}: {bad}")


# Beyond 30, nothing of the spread is left in a half precision input.
PRECISIONS = [
    (dtype, ratio)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    for ratio in RATIOS
    if dtype.itemsize >= 4 or ratio <= 30
]


@pytest.mark.parametrize(("dtype", "ratio"), PRECISIONS, ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_norms_under_hurtful_input(name, dtype, ratio):
    for layout in LAYOUTS:
        sweep(name, layers, dtype, ratio, layout)


@pytest.mark.parametrize("value", [0.0, 3.0, -7e4, 1e-30])
@pytest.mark.parametrize("name", NORMS)
def test_constant_planes_give_the_bias(name, value):
    module = trained(NORMS[name][0](layers), torch.float32)
    y = module(torch.full((3, C, 5, 7), value))
    expected = module.bias.detach().reshape(1, C, 1, 1).expand(y.shape)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6 if abs(value) < 1e3 else 1e-2)


@pytest.mark.parametrize("name", NORMS)
def test_empty_batches_as_torch(name):
    """The same shape, or the same kind of error."""
    results = []
    for namespace in (layers, nn):
        try:
            results.append(NORMS[name][0](namespace)(torch.empty(0, C, 4, 4)).shape)
        except Exception as error:
            results.append(type(error))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_set(name, value):
    """As with torch: NaN where the bad value's set is, the other sets untouched."""
    x = torch.randn(3, C, 4, 5, generator=torch.Generator().manual_seed(0))
    x[1, 2, 3, 4] = value
    ours, theirs = NORMS[name][0](layers)(x), NORMS[name][0](nn)(x)
    assert torch.equal(ours.isnan(), theirs.isnan())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)


# ---- relations between norms ----------------------------------------------------------


def relations(nn):
    """Pairs of layers that must compute the same, and the input they are compared on."""
    x = draw((3, C, 5, 7), 30.0, torch.float64, "contiguous")
    one = x[:1]
    yield "group norm, a group for each channel, is instance norm", nn.GroupNorm(C, C, affine=False), nn.InstanceNorm2d(C), x  # fmt: skip
    yield "group norm with one group is layer norm", nn.GroupNorm(1, C, affine=False), nn.LayerNorm(x.shape[1:], elementwise_affine=False), x  # fmt: skip
    yield "batch norm of one sample is instance norm", nn.BatchNorm2d(C, affine=False), nn.InstanceNorm2d(C), one  # fmt: skip
    for rho, name, other in ((1.0, "batch norm", nn.BatchNorm2d(C)), (0.0, "instance norm", nn.InstanceNorm2d(C, affine=True))):  # fmt: skip
        mixed = nn.BatchInstanceNorm2d(C)
        with torch.no_grad():
            next(p for key, p in mixed.named_parameters() if key not in ("weight", "bias")).fill_(rho)  # fmt: skip
        yield f"batch-instance norm with gate {rho:g} is {name}", mixed, other, x


def check_relations(nn):
    count = 0
    for name, a, b, x in relations(nn):
        difference = float((a.double()(x) - b.double()(x)).detach().abs().max())
        if not difference <= 1e-10:
            raise Mismatch(f"{name}: {difference}")
        count += 1
    assert count == 5


def test_relations():
    check_relations(layers)


# ---- the sweep sees what it is for ----------------------------------------------------


class NaiveBatchNorm2d(nn.BatchNorm2d):
    """Right in exact arithmetic: the variance as E[x^2] - E[x]^2."""

    def forward(self, x):
        if not self.training or not x.numel():
            return super().forward(x)
        mean, square = x.mean((0, 2, 3)), (x * x).mean((0, 2, 3))
        var, count = square - mean * mean, x.numel() / max(x.shape[1], 1)
        with torch.no_grad():
            if self.track_running_stats:
                self.num_batches_tracked.add_(1)
                share = self.momentum or 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(var * count / max(count - 1, 1), share)
        y = (x - mean[:, None, None]) * (var + self.eps).rsqrt()[:, None, None]
        y = y if self.weight is None else y * self.weight[:, None, None]
        return y if self.bias is None else y + self.bias[:, None, None]


class Naive:
    BatchNorm2d = NaiveBatchNorm2d


def test_the_naive_variance_passes_near_zero_and_is_caught_here():
    """It is no bug near mean 0, where the public suites look; the sweep must see it."""
    sweep("batch", Naive, torch.float32, 0.0, "contiguous")
    with pytest.raises(Mismatch):
        sweep("batch", Naive, torch.float32, 1000.0, "contiguous")


def test_public_suites_do_not_see_the_naive_variance():
    """Why this file exists: every sample of module_db passes with the mutant."""
    import module_cases
    from suites import run_all

    module_cases.NaiveBatchNorm2d = NaiveBatchNorm2d  # type: ignore[attr-defined]
    NaiveBatchNorm2d.__module__ = "module_cases"  # so that it can be pickled
    held = [c for c in module_cases.cases("BatchNorm2d") if c.training and c.dtype == torch.float32]
    counts, failures = run_all(held, lambda case: module_cases.check(case, Naive))
    assert counts["passed"] == len(held) > 0, failures


@pytest.mark.parametrize("name", NORMS)
def test_a_wrong_gradient_is_caught(name):
    class Off:
        def __getattr__(self, attribute):
            cls = getattr(nn, attribute)

            class Detached(cls):
                def forward(self, x):  # a little of the gradient is lost
                    return super().forward(0.999 * x + 0.001 * x.detach())

            return Detached

    with pytest.raises(Mismatch, match="dx"):
        sweep(name, Off(), torch.float64, 1.0, "contiguous")


# Each relation, and a layer whose break only this one sees first.
BREAKS = {
    "group norm, a group for each channel": ("GroupNorm", lambda m: True),
    "group norm with one group": ("LayerNorm", lambda m: True),
    "batch norm of one sample": ("BatchNorm2d", lambda m: True),
    "with gate 1 is": ("BatchInstanceNorm2d", lambda m: bool(m.gate[0] == 1)),
    "with gate 0 is": ("BatchInstanceNorm2d", lambda m: bool(m.gate[0] == 0)),
}


@pytest.mark.parametrize("relation", BREAKS)
def test_a_wrong_relation_is_caught(relation):
    name, here = BREAKS[relation]

    class Off(getattr(layers, name)):
        def forward(self, x):
            return super().forward(x) * (1.001 if here(self) else 1)

    class Broken:
        def __getattr__(self, attribute):
            return Off if attribute == name else getattr(layers, attribute)

    with pytest.raises(Mismatch, match=relation):
        check_relations(Broken())
