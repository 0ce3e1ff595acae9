"""The norms against torch.nn and the NumPy reference in float64, over inputs that hurt."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from visus.kernels import normalize
from visus.layers import norm
from visus.layers.norm import norms
from visus.reference import mixture, normalization

SHAPES = [(4, 6, 5, 7), (2, 34, 9, 20), (1, 4, 33, 35), (5, 8, 1, 1), (3, 2, 1, 90), (1, 2, 91, 92)]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
ACTS = [None, "relu", ("leaky-relu", 0.2), "elu", "sigmoid", "tanh", "silu"]

MAKE = {
    "batch": lambda s: norm.BatchNorm2d(s[1]),
    "instance": lambda s: norm.InstanceNorm2d(s[1], affine=True),
    "group": lambda s: norm.GroupNorm(2, s[1]),
    "layer": lambda s: norm.LayerNorm(s[1:]),
    "layer2d": lambda s: norm.LayerNorm2d(s[1]),
    "batch-instance": lambda s: norm.BatchInstanceNorm2d(s[1]),
    "switch": lambda s: norm.SwitchNorm2d(s[1]),
}


def made(name, shape, dtype=torch.float64):
    torch.manual_seed(1)
    module = MAKE[name](shape).to(dtype)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.2, 0.9)
    return module


def data(shape, layout="contiguous", mean=3.0, dtype=torch.float64, seed=2):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (x + mean).to(dtype).contiguous(memory_format=LAYOUTS[layout])


def reference(name, module, x, g):
    """y and gradients by NumPy: x, then the parameters in the order of `module`."""
    p = {key: value.detach().double().numpy() for key, value in module.named_parameters()}
    x, g = x.detach().double().numpy(), g.double().numpy()
    wb = (p["weight"], p["bias"])
    eps = {"eps": module.eps}
    forward, backward, args, order = {
        "batch": (normalization.batch_norm, normalization.batch_norm_backward, wb, "weight bias"),
        "instance": (normalization.instance_norm, normalization.instance_norm_backward, wb, "weight bias"),
        "group": (normalization.group_norm, normalization.group_norm_backward, (2, *wb), "weight bias"),
        "layer": (normalization.layer_norm, normalization.layer_norm_backward, wb, "weight bias"),
        "layer2d": (normalization.pixel_norm, normalization.pixel_norm_backward, wb, "weight bias"),
        "batch-instance": (mixture.batch_instance_norm, mixture.batch_instance_norm_backward, (p.get("gate"), *wb), "weight bias gate"),
        "switch": (mixture.switch_norm, mixture.switch_norm_backward, (p.get("mean_weight"), p.get("var_weight"), *wb), "weight bias mean_weight var_weight"),
    }[name]  # fmt: skip
    grads = backward(g, x, *args, **eps)
    names = {"weight": "gamma", "bias": "beta", "gate": "rho"}
    found = [forward(x, *args, **eps), grads["x"], *(grads[names.get(k, k)] for k in order.split())]
    return [torch.as_tensor(t) for t in found]


def run(module, x, g):
    x = x.detach().requires_grad_()
    y = module(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], g)]


def apart(found, expected):
    """The largest relative errors, each in units of the tensor's largest value."""
    return [
        float((a.double() - b).abs().max() / (b.abs().max() + 1e-300)) if b.numel() else 0.0
        for a, b in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MAKE)
def test_float64_is_the_reference(name, shape, layout):
    if name == "instance" and shape[2:] == (1, 1):
        pytest.skip("torch.nn refuses one number a plane")
    module, x = made(name, shape), data(shape, layout)
    g = data(shape, layout, 0.0, seed=3)
    for a, b in zip(run(module, x, g), reference(name, module, x, g), strict=True):
        torch.testing.assert_close(
            a, b.reshape(a.shape), rtol=1e-12, atol=1e-12 * float(1 + b.abs().max())
        )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("act", ACTS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MAKE)
def test_the_kernel_is_its_own_plain_pytorch(name, layout, act, training, monkeypatch):
    shape = (3, 34, 6, 9)
    module, x, g = made(name, shape), data(shape, layout), data(shape, layout, 0.0, seed=4)
    module.act = act
    module.train(training)
    twin = copy.deepcopy(module)
    fast = [*run(module, x, g), *module.buffers()]
    monkeypatch.setattr(normalize, "eager", plain)
    slow = [*run(twin, x, g), *twin.buffers()]
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * float(1 + b.double().abs().max()))


def plain(x, algebra, tensors, act, alpha, running):
    """Stands in for the kernels: the differentiable path."""
    return normalize._traced(x, algebra, list(tensors), act, alpha, running)


@pytest.mark.parametrize("name", MAKE)
def test_first_and_second_derivatives(name):
    module = made(name, (3, 4, 2, 3))
    module.act = "sigmoid"
    x = data((3, 4, 2, 3)).requires_grad_()
    assert gradcheck(module, x)
    assert gradgradcheck(module, x)


# ---- float32 far from zero ------------------------------------------------------------


class TheirLayerNorm2d(nn.LayerNorm):
    """As ConvNeXt writes it."""

    def forward(self, input):
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class TheirBatchInstanceNorm2d(nn.BatchNorm2d):
    """The official composition: two norms, mixed by the gate."""

    def __init__(self, channels):
        super().__init__(channels)
        self.gate = nn.Parameter(torch.ones(channels))

    def forward(self, input):
        F, (n, c, *size) = nn.functional, input.shape
        one = F.batch_norm(input, None, None, self.weight * self.gate, self.bias, True)
        planes, rest = input.reshape(1, n * c, *size), self.weight * (1 - self.gate)
        return one + F.batch_norm(planes, None, None, rest.repeat(n), None, True).view_as(input)


THEIRS = {
    "batch": lambda s: nn.BatchNorm2d(s[1]),
    "instance": lambda s: nn.InstanceNorm2d(s[1], affine=True),
    "group": lambda s: nn.GroupNorm(2, s[1]),
    "layer": lambda s: nn.LayerNorm(s[1:]),
}
COMPOSED = {
    "layer2d": lambda s: TheirLayerNorm2d(s[1], eps=1e-6),
    "batch-instance": lambda s: TheirBatchInstanceNorm2d(s[1]),
}


def worst_errors(make, exact, mean, layout):
    """The worst of four draws: one alone may be lucky, the draws of a sum's rounding are few."""
    shape, found = (4, 8, 24, 24), []
    for seed in range(4):
        x = data(shape, layout, mean, torch.float32, seed)
        g = data(shape, mean=0.0, seed=seed + 100, dtype=torch.float32)
        module = make(shape)
        module.load_state_dict(exact.state_dict())
        expected = reference(exact.name, exact, x, g)
        found.append(apart(run(module.float(), x, g), expected))
    return [max(errors) for errors in zip(*found, strict=True)]


@pytest.mark.parametrize("mean", [0.0, 1.0, 10.0, 100.0, 1000.0, 1e4])
@pytest.mark.parametrize("name", [*THEIRS, *COMPOSED])
def test_float32_errors_beside_torch(name, mean):
    """y, dx and parameter gradients: at most twice torch's error in its better layout."""
    exact = made(name, (4, 8, 24, 24))
    exact.name = name
    theirs = {**THEIRS, **COMPOSED}[name]
    limits = list(map(min, *(worst_errors(theirs, exact, mean, layout) for layout in LAYOUTS)))
    for layout in LAYOUTS:
        errors = worst_errors(MAKE[name], exact, mean, layout)
        assert all(e <= 2 * max(t, 6e-8) for e, t in zip(errors, limits, strict=True)), (
            errors,
            limits,
        )
        if mean == 1000:
            assert errors[0] <= 1e-6


class Naive(norm.BatchNorm2d):
    """The bug that no public suite notices: E[x^2] - E[x]^2."""

    def forward(self, input):
        mean = input.mean((0, 2, 3), keepdim=True)
        var = (input * input).mean((0, 2, 3), keepdim=True) - mean * mean
        shape = (1, -1, 1, 1)
        return (input - mean) / (var + self.eps).sqrt() * self.weight.view(shape) + self.bias.view(
            shape
        )


def test_a_naive_variance_is_caught(monkeypatch):
    monkeypatch.setitem(MAKE, "batch", lambda s: Naive(s[1]))
    with pytest.raises((AssertionError, RuntimeError)):
        test_float32_errors_beside_torch("batch", 1000.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MAKE)
def test_half_precision_has_float32_statistics(name, layout, dtype):
    shape = (4, 6, 9, 11)
    module, g = made(name, shape, torch.float32), data(shape, layout, 0.0, dtype)
    x = data(shape, layout, 20.0, dtype)
    expected = reference(name, module, x, g)
    found = run(module, x, g.to(dtype))
    assert found[0].dtype == dtype
    unit = torch.finfo(dtype).eps
    assert (
        max(apart(found, [e.reshape(f.shape) for e, f in zip(expected, found, strict=True)]))
        < 8 * unit
    )


# ---- inputs that hurt -----------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
def test_constant_planes_give_beta(name):
    module = made(name, (2, 4, 5, 5), torch.float32)
    x = torch.full((2, 4, 5, 5), 4096.3)
    y = module(x)
    beta = (
        module.bias.detach().reshape(-1, 1, 1).expand(4, 5, 5)
        if module.bias.dim() == 1
        else module.bias
    )
    torch.testing.assert_close(y, beta.expand_as(y), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", THEIRS)
def test_empty_batches_and_strides_as_torch(name):
    for x in (torch.empty(0, 4, 3, 3), torch.randn(2, 4, 6, 6)[:, :, ::2, 1::2], torch.randn(3, 3, 2, 4).permute(2, 3, 0, 1)):  # fmt: skip
        shape = (2, 4, 3, 3)
        ours, theirs = made(name, shape, torch.float32), THEIRS[name](shape)
        theirs.load_state_dict(ours.state_dict())
        try:
            expected = theirs(x)
        except (ValueError, RuntimeError, IndexError) as error:
            with pytest.raises(type(error)):
                ours(x)
            continue
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


def test_nan_and_inf_pass():
    x = torch.randn(2, 3, 4, 4)
    x[0, 1, 2, 2] = torch.nan
    y = norm.BatchNorm2d(3, act="relu")(x)
    assert y[:, 1].isnan().all() and y[:, [0, 2]].isfinite().all()


def test_torch_errors():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm.BatchNorm2d(3)(torch.randn(1, 3, 1, 1))
    with pytest.raises(ValueError, match="4D"):
        norm.BatchNorm2d(3)(torch.randn(2, 3, 4))
    with pytest.raises(ValueError, match="divisible"):
        norm.GroupNorm(2, 3)


# ---- relations between norms ----------------------------------------------------------


def same(a, b, shape=(3, 6, 5, 4)):
    x = data(shape)
    torch.testing.assert_close(a.double()(x), b.double()(x), rtol=1e-11, atol=1e-11)


def gated(value, channels=6):
    module = norm.BatchInstanceNorm2d(channels)
    nn.init.constant_(module.gate, value)
    return module


def test_relations():
    same(norm.GroupNorm(6, 6), norm.InstanceNorm2d(6))
    same(norm.GroupNorm(1, 6), norm.LayerNorm((6, 5, 4)))
    same(gated(1.0), norm.BatchNorm2d(6))
    same(gated(0.0), norm.InstanceNorm2d(6))
    same(norm.BatchNorm2d(6), norm.InstanceNorm2d(6), (1, 6, 5, 4))
    with pytest.raises(AssertionError):
        same(gated(0.5), norm.BatchNorm2d(6))


# ---- modules --------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
def test_copies_and_pickles(name):
    module, x = made(name, (2, 4, 3, 3)), data((2, 4, 3, 3))
    module.act = ("leaky-relu", 0.3)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin.eval()(x), copy.deepcopy(module).eval()(x))
        if name == "batch-instance":
            assert twin.gate.rate_share == 10 and not twin.gate.decays


def test_the_gate_stays_in_its_range():
    module = norm.BatchInstanceNorm2d(3)
    with torch.no_grad():
        module.gate.copy_(torch.tensor([1.7, -0.2, 0.4]))
    y = module(torch.randn(2, 3, 4, 4))
    assert module.gate.tolist() == pytest.approx([1.0, 0.0, 0.4])
    y.sum().backward()
    groups = list(norm.parameter_groups(nn.Sequential(nn.Linear(2, 2), module), 0.1, 5e-4))
    assert sorted((g["lr"], g["weight_decay"]) for g in groups) == [
        (0.1, 0.0),
        (0.1, 5e-4),
        (1.0, 0.0),
    ]


def test_running_moments_as_torch():
    for momentum in (0.1, 0.3, None):
        ours, theirs = norm.BatchNorm2d(5, momentum=momentum), nn.BatchNorm2d(5, momentum=momentum)
        for seed in range(4):
            x = data((3, 5, 4, 4), seed=seed, dtype=torch.float32)
            ours(x), theirs(x)
        for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
            torch.testing.assert_close(a, b)


def test_recalibrate_is_exact_over_batches_of_all_sizes():
    model = nn.Sequential(norm.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3), nn.Dropout()).train()
    x = data((22, 3, 4, 4), mean=50.0, dtype=torch.float32)
    norm.recalibrate(model, [x[:10], x[10:21], x[21:]])
    torch.testing.assert_close(model[0].running_mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(model[0].running_var, x.transpose(0, 1).flatten(1).var(1))
    assert model.training and model[2].momentum == 0.1


@pytest.mark.parametrize(
    "name", ["batch", "instance", "layer", "group", "batch-instance", "switch"]
)
def test_the_recipe_names(name):
    module = norms.make(name, 48, act="relu")
    y = module(torch.randn(2, 48, 5, 5))
    assert y.shape == (2, 48, 5, 5) and y.min() == 0
    y.sum().backward()


def test_one_tensor_is_kept():
    kept = {}
    x = torch.randn(4, 8, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t.nbytes) and t, lambda t: t):  # fmt: skip
        norm.BatchNorm2d(8, act="relu")(x)
    assert sum(kept.values()) < 1.1 * x.nbytes


@pytest.mark.parametrize("name", MAKE)
def test_compiles_without_a_break(name):
    module = made(name, (3, 4, 5, 5), torch.float32)
    module.act = "relu"
    twin, x = copy.deepcopy(module), data((3, 4, 5, 5), dtype=torch.float32)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for a, b in zip([compiled(x), *module.buffers()], [twin(x), *twin.buffers()], strict=True):
        torch.testing.assert_close(a, b)
    given = x.clone().requires_grad_()
    a, b = (torch.autograd.grad(m(given).square().sum(), [given, *p.parameters()]) for m, p in ((compiled, module), (twin, twin)))  # fmt: skip
    torch.testing.assert_close(a, b)


def test_functorch_and_autocast():
    module = norm.GroupNorm(2, 4)
    x = torch.randn(3, 2, 4, 5, 5)
    torch.testing.assert_close(torch.func.vmap(module)(x), torch.stack([module(t) for t in x]))
    with torch.autocast("cpu", torch.bfloat16):
        y = norm.BatchNorm2d(4, act="relu")(nn.Conv2d(4, 4, 3)(x[0]))
    assert y.dtype == torch.bfloat16
