"""What every loss, activation and init must hold; and the checks see members that break them."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from visus.layers import Conv2d, Linear, activations, inits, losses

SHAPES = [(4, 6), (2, 6, 5, 3), (2, 6, 1, 1), (0, 6, 4, 4), (6,)]

# ---- activations ----------------------------------------------------------------------


def shape_and_type_kept(make):
    for shape in SHAPES:
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
            x = torch.randn(shape).to(dtype)
            y = make()(x)
            assert y.shape == x.shape and y.dtype == dtype, (shape, dtype)


def layouts_agree(make):
    x = torch.randn(2, 6, 5, 3)
    wanted = make()(x)
    for other in (x.to(memory_format=torch.channels_last), x.repeat_interleave(2, 3)[..., ::2]):
        torch.testing.assert_close(make()(other), wanted, rtol=1e-6, atol=1e-6)


def gradient_is_right(make):
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(make(), x), "gradient"
    assert torch.autograd.gradgradcheck(make(), x), "second"


def finite_far_out_and_not_a_number_stays(make):
    x = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    y = make()(x)
    y.sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all(), "far out"
    assert make()(torch.tensor([torch.nan])).isnan().all(), "nan"


def pickles_and_copies(make):
    module, x = make(), torch.randn(2, 6)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x), module(x))
    assert not list(module.parameters()) and not module.state_dict()


OF_ACTIVATIONS = [shape_and_type_kept, layouts_agree, gradient_is_right,
                  finite_far_out_and_not_a_number_stays, pickles_and_copies]  # fmt: skip


@pytest.mark.parametrize("rule", OF_ACTIVATIONS)
@pytest.mark.parametrize("name", activations)
def test_activation(name, rule):
    rule(lambda: activations.make(name))


class _Halves(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        return g / 2


class _Broken(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize(
    ("rule", "run"),
    [
        (shape_and_type_kept, lambda x: x.float()),
        (layouts_agree, lambda x: x.as_strided(x.shape, torch.empty(x.shape).stride())),
        (gradient_is_right, _Halves.apply),
        (finite_far_out_and_not_a_number_stays, lambda x: x.exp() / (1 + x.exp())),
        (pickles_and_copies, lambda x: x),  # a lambda does not pickle
    ],
)
def test_a_broken_activation_is_seen(rule, run):
    with pytest.raises((AssertionError, RuntimeError, AttributeError, pickle.PicklingError)):
        rule(lambda: _Broken(run))


# ---- losses ---------------------------------------------------------------------------


def case(name, n=6, k=4, dtype=torch.float64, scale=1.0):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, k, generator=draw, dtype=torch.float64) * scale
    p = torch.randn(n, k, generator=draw, dtype=torch.float64).softmax(1)
    if name == "margin-ranking":
        return x[:, 0].to(dtype), x[:, 1].to(dtype), p[:, 0].round().mul(2).sub(1).to(dtype)
    return x.to(dtype), p.to(dtype)


def reductions_add_up(name, make):
    each = make(reduction="none")(*case(name))
    torch.testing.assert_close(make(reduction="sum")(*case(name)), each.sum())
    torch.testing.assert_close(make()(*case(name)), each.mean())


def not_negative_and_finite_far_out(name, make):
    x, *rest = case(name, scale=1e4, dtype=torch.float32)
    x.requires_grad_()
    y = make()(x, *rest)
    y.backward()
    assert torch.isfinite(y) and y >= 0, "value"
    assert torch.isfinite(x.grad).all(), "gradient"


def weights_scale_and_drop(name, make):
    inputs = case(name)
    ones = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(make()(*inputs, weight=ones * 3), make()(*inputs))
    kept = ones.clone()
    kept[2:] = 0
    torch.testing.assert_close(make()(*inputs, weight=kept), make()(*(t[:2] for t in inputs)))


def loss_gradient_is_right(name, make):
    x, *rest = case(name)
    assert torch.autograd.gradcheck(lambda z: make()(z, *rest), x.requires_grad_())


def empty_sum_is_zero(name, make):
    assert float(make(reduction="sum")(*case(name, n=0))) == 0.0


OF_LOSSES = [reductions_add_up, not_negative_and_finite_far_out, weights_scale_and_drop,
             loss_gradient_is_right, empty_sum_is_zero]  # fmt: skip


@pytest.mark.parametrize("rule", OF_LOSSES)
@pytest.mark.parametrize("name", losses)
def test_loss(name, rule):
    rule(name, lambda **options: losses.make(name, **options))


class _BrokenLoss(nn.Module):
    def __init__(self, how, reduction="mean"):
        super().__init__()
        self.how, self.reduction = how, reduction

    def forward(self, x, t, weight=None):
        d = torch.exp(x) / torch.exp(x).sum(1, keepdim=True) if self.how == "overflow" else x
        d = _Halves.apply(d - t) if self.how == "gradient" else (d - t)
        d = d.square() if weight is None or self.how == "weight" else d.square() * weight[:, None]
        if self.reduction == "none":
            return d
        total = d.sum() + (self.how == "empty")
        return total if self.reduction == "sum" else total / (d.numel() + (self.how == "mean"))


@pytest.mark.parametrize(
    ("rule", "how"),
    list(zip(OF_LOSSES, ["mean", "overflow", "weight", "gradient", "empty"], strict=True)),
)
def test_a_broken_loss_is_seen(rule, how):
    with pytest.raises((AssertionError, RuntimeError)):
        rule("l2", lambda **options: _BrokenLoss(how, **options))


# ---- inits ----------------------------------------------------------------------------


def net():
    draw = torch.random.get_rng_state()
    torch.manual_seed(5)
    made = nn.Sequential(Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.ReLU(),
                         Conv2d(8, 8, 3, groups=8), nn.Flatten(), Linear(8 * 16, 5))  # fmt: skip
    torch.random.set_rng_state(draw)
    return made


IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def biases_zero_and_weights_finite(init):
    model = net()
    init(model, IMAGES)
    for layer in (model[0], model[3], model[5]):
        assert not layer.bias.any() and torch.isfinite(layer.weight).all()


def same_seed_same_weights(init):
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        init(made.append(net()) or made[-1], IMAGES)
    for a, b in zip(made[0].parameters(), made[1].parameters(), strict=True):
        assert torch.equal(a, b)


def touches_nothing_else(init):
    model, images = net().eval(), IMAGES.clone()
    norm = copy.deepcopy(model[1].state_dict())
    held = [id(p) for p in model.parameters()]
    init(model, images)
    assert [id(p) for p in model.parameters()] == held, "parameters"
    assert all(torch.equal(v, norm[k]) for k, v in model[1].state_dict().items()), "norm"
    assert not any(m.training for m in model.modules()) and torch.equal(images, IMAGES), "modes"
    assert all(p.requires_grad and p.grad is None for p in model.parameters()), "gradients"


def half_precision_too(init):
    model = net().to(torch.bfloat16)
    init(model, IMAGES.to(torch.bfloat16))
    assert all(p.dtype == torch.bfloat16 and torch.isfinite(p).all() for p in model.parameters())


OF_INITS = [biases_zero_and_weights_finite, same_seed_same_weights, touches_nothing_else,
            half_precision_too]  # fmt: skip


@pytest.mark.parametrize("rule", OF_INITS)
@pytest.mark.parametrize("name", inits)
def test_init(name, rule):
    rule(lambda model, images: inits.make(name, model, images))


_COUNT = iter(range(1000))


def _bias(model, images):
    model[0].bias.data.fill_(1.0)


def _counts(model, images):
    model[0].weight.data.fill_(next(_COUNT))


def _trains(model, images):
    model.train()(images)


def _replaces(model, images):
    model[0].weight = nn.Parameter(model[0].weight.float())


@pytest.mark.parametrize(
    ("rule", "init"), list(zip(OF_INITS, [_bias, _counts, _trains, _replaces], strict=True))
)
def test_a_broken_init_is_seen(rule, init):
    with pytest.raises((AssertionError, RuntimeError)):
        rule(init)
