"""Initialization: variances in closed form, measured on wide layers; what must stay as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visus.errors import UsageError
from visus.layers import Conv2d, Linear, ReLU, fans, initialize, inits, variances
from visus.layers.norm import BatchNorm2d
from visus.reference import initialization as reference

LAYERS = {
    "linear": lambda: Linear(400, 300),
    "convolution": lambda: Conv2d(48, 96, 3),
    "grouped": lambda: Conv2d(128, 256, 3, groups=4),
}


def variance(layer, name, **options):
    torch.manual_seed(0)
    initialize(layer, name, **options)
    assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
    return float(layer.weight.double().var(unbiased=False))


@pytest.mark.parametrize("kind", LAYERS)
def test_variances_are_those_of_the_formulas(kind):
    layer = LAYERS[kind]()
    into, out = fans(layer)
    wanted = {
        ("zero", ()): 0.0,
        ("normal", (("std", 0.3),)): 0.09,
        ("xavier", ()): 2 / (into + out),
        ("he", ()): 2 / into,
        ("he", (("mode", "out"), ("slope", 0.5))): 2 / (1.25 * out),
    }
    for (name, options), value in wanted.items():
        assert variance(layer, name, **dict(options)) == pytest.approx(value, rel=0.02), name


def test_fans_are_the_references_and_torchs_counts_per_group():
    for layer in (Linear(7, 5), Conv2d(6, 4, (3, 2))):
        assert fans(layer) == reference.fans(layer.weight.shape)
    assert fans(Conv2d(8, 12, 3, groups=4)) == (2 * 9, 3 * 9)


def test_he_keeps_the_power_and_the_gradient_through_twenty_layers():
    torch.manual_seed(1)
    model = nn.Sequential(*(m for _ in range(20) for m in (Linear(512, 512), ReLU())))
    initialize(model, "he")
    x = torch.randn(256, 512)
    assert 0.5 < float(model(x).square().mean()) / float(x.square().mean()) < 2
    initialize(model, "normal")
    assert float(model(x).square().mean()) < 1e-10


@pytest.mark.parametrize("groups", [1, 4, 32])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_orthogonal_in_each_group(groups, dtype):
    layer = Conv2d(32, 64, 3, groups=groups).to(dtype)
    initialize(layer, "orthogonal", gain=2.0)
    for part in layer.weight.detach().double().flatten(1).chunk(groups):
        square = part @ part.T if part.shape[0] <= part.shape[1] else part.T @ part
        tight = 1e-12 if dtype == torch.float64 else 5e-2
        torch.testing.assert_close(square, 4 * torch.eye(len(square)).double(), rtol=0, atol=tight)


class Net(nn.Module):
    """Layers out of their order, a branch, a norm, dropout and one layer in eval mode."""

    def __init__(self):
        super().__init__()
        self.last = Linear(16, 3)
        self.first, self.depthwise = Conv2d(3, 16, 3), Conv2d(16, 16, 3, groups=16)
        self.norm, self.drop = BatchNorm2d(16, act="relu"), nn.Dropout(0.5)

    def forward(self, x):
        x = self.norm(self.depthwise(torch.relu(self.first(x))))
        return self.last(self.drop(x.mean((2, 3))))


def test_data_driven_reaches_unit_variance_and_leaves_the_rest_alone():
    torch.manual_seed(0)
    model, images = Net(), torch.randn(32, 3, 12, 12) * 3
    model.norm.eval()
    modes = [m.training for m in model.modules()]
    buffers = {k: v.clone() for k, v in model.named_buffers()}
    rows = initialize(model, "data", images, tolerance=0.01)
    assert [r["layer"] for r in rows] == ["first", "depthwise", "last"]
    assert all(abs(r["forward"] - 1) < 0.03 for r in rows), rows
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, buffers[k]) for k, v in model.named_buffers())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not model.first._forward_hooks


def test_measuring_draws_no_random_numbers():
    class Noisy(Net):
        def forward(self, x):
            return super().forward(x + torch.randn_like(x))

    model = Noisy()
    held = torch.get_rng_state()
    variances(model, torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), held)


def test_data_that_hurts():
    for images in (torch.zeros(4, 3, 8, 8), torch.randn(1, 3, 6, 5), torch.full((2, 3, 8, 8), 1e4)):
        model = Net()
        initialize(model, "data", images)
        assert all(torch.isfinite(p).all() for p in model.parameters())
    with pytest.raises(UsageError, match="init data: needs a batch"):
        inits.make("data", Net())
    with pytest.raises(UsageError, match="mode is 'both'; give in or out"):
        initialize(Net(), "he", mode="both")


def test_a_failing_forward_leaves_modes_and_hooks():
    model = Net().eval()
    with pytest.raises(RuntimeError):
        initialize(model, "data", torch.zeros(2, 5, 8, 8))
    assert not any(m.training for m in model.modules()) and not model.first._forward_hooks
