"""Activations, convolutions, pools, dropout and penalties: torch.nn's twins, and what torch.nn lacks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from visus import layers
from visus.errors import UsageError
from visus.reference import activation, regularization

TWINS = {
    "ReLU": ((), {}), "LeakyReLU": ((0.2,), {"inplace": True}), "ELU": ((0.7,), {}), "Sigmoid": ((), {}),
    "Tanh": ((), {}), "GELU": (("tanh",), {}), "SiLU": ((), {}), "Identity": ((), {}),
    "Conv2d": ((6, 4, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "padding_mode": "reflect"}),
    "MaxPool2d": ((3,), {"stride": 2, "padding": 1, "ceil_mode": True}), "AvgPool2d": ((3, 2), {"padding": 1}),
    "AdaptiveAvgPool2d": ((2,), {}), "Linear": ((7, 5), {"bias": False}), "Dropout": ((0.4,), {}),
    "Dropout2d": ((0.4,), {}),
}  # fmt: skip
SHAPES = [(2, 6, 9, 7), (1, 6, 5, 7), (0, 6, 9, 7)]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()  # torch compiles one function for so many modules and no more


def pair(name):
    """Ours and torch's, with the same weights."""
    args, options = TWINS[name]
    made = [getattr(home, name)(*args, **options) for home in (layers, nn)]
    made[0].load_state_dict(made[1].state_dict())
    made[1].load_state_dict(made[0].state_dict())
    return made


def run(module, x):
    torch.manual_seed(0)
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(leaf.clone(memory_format=torch.preserve_format))
    y.sin().sum().backward()
    return y, leaf.grad, [p.grad for p in module.parameters()]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", TWINS)
def test_twin_of_torch(name, dtype):
    ours, peer = (m.to(dtype) for m in pair(name))
    assert isinstance(ours, type(peer)) and repr(ours) == repr(peer)
    for shape in SHAPES:
        x = torch.randn(shape).to(dtype)
        for given in (x, x.to(memory_format=torch.channels_last)):
            ours.zero_grad(), peer.zero_grad()
            for a, b in zip(run(ours, given)[:2], run(peer, given)[:2], strict=True):
                assert torch.equal(a, b) and a.stride() == b.stride()


@pytest.mark.parametrize("name", TWINS)
def test_strided_as_dense(name):
    ours, x = pair(name)[0].eval(), torch.randn(2, 12, 9, 14)[:, ::2, :, ::2]
    torch.testing.assert_close(ours(x.clone(memory_format=torch.contiguous_format)), ours(x * 1))
    wide = torch.randn(2, 12, 9, 14)
    torch.testing.assert_close(
        ours(wide[:, ::2, :, 1::2].contiguous()), ours(wide[:, ::2, :, 1::2])
    )


@pytest.mark.parametrize("name", TWINS)
def test_copied_pickled_compiled(name):
    ours, _ = pair(name)
    x = torch.randn(2, 6, 9, 7)
    twins = copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))
    for twin in (*twins, torch.compile(ours, fullgraph=True, backend="aot_eager")):
        for a, b in zip(run(twin, x)[:2], run(ours, x)[:2], strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", [n for n in TWINS if "Dropout" not in n])
def test_first_and_second_derivatives(name):
    ours = pair(name)[0].double()
    ours.requires_grad_(False)
    x = torch.randn(1, 6, 5, 7, dtype=torch.float64, requires_grad=True)

    def call(x):
        return ours(x.clone())

    assert torch.autograd.gradcheck(call, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, x, fast_mode=True)


@pytest.mark.parametrize("dim", [1, -1, 2])
def test_maxout_over_any_axis(dim):
    x = np.random.default_rng(0).integers(0, 3, size=(2, 6, 6, 6)).astype(float)  # ties
    leaf = torch.tensor(x, requires_grad=True)
    y = layers.Maxout(3, dim=dim)(leaf)
    front = np.moveaxis(x, dim, 1)
    np.testing.assert_array_equal(y.detach().movedim(dim, 1), activation.maxout(front, 3))
    y.sum().backward()
    wanted = activation.maxout_backward(np.ones((2, 2, 6, 6)), front, 3)["x"]
    np.testing.assert_array_equal(leaf.grad.movedim(dim, 1), wanted)  # type: ignore[union-attr]


def test_maxout_refuses_in_one_line():
    with pytest.raises(UsageError, match="5 channels are no multiple of 2 pieces; give") as caught:
        layers.Maxout()(torch.zeros(1, 5))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="pieces is 0; give at least 1"):
        layers.Maxout(0)
    assert layers.Maxout()(torch.zeros(0, 4, 1, 1)).shape == (0, 2, 1, 1)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        layers.Conv2d(3, 8, 3, padding=1), layers.Maxout(2), layers.MaxPool2d(2), layers.LeakyReLU(0.2),
        layers.ASPP(4, 6, (1, 2)), layers.AvgPool2d(2), layers.ELU(), layers.AdaptiveAvgPool2d(1), nn.Flatten(),
        layers.Dropout(0.5), layers.Linear(6, 5), layers.Tanh(),
    )  # fmt: skip


def test_a_small_net_leaves_as_onnx(tmp_path):
    model, x = net().eval(), torch.randn(2, 3, 16, 12)
    torch.onnx.export(model, (x,), tmp_path / "net.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(
        tmp_path / "net.onnx", providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(found, model(x).detach(), rtol=1e-4, atol=1e-5)


def test_a_small_net_trains_in_bfloat16_and_compiled():
    x = torch.randn(4, 3, 16, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = net()(x)
    y.float().sum().backward()
    assert torch.isfinite(y).all()
    model = net().eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).sum().backward()


def test_penalties_of_the_reference_on_weights_alone():
    model = nn.Sequential(layers.Conv2d(3, 4, 3), nn.BatchNorm2d(4), layers.Linear(4, 2)).double()
    for ours, wanted, back in (
        (layers.l2_penalty, regularization.l2_penalty, regularization.l2_penalty_backward),
        (layers.l1_penalty, regularization.l1_penalty, regularization.l1_penalty_backward),
    ):
        model.zero_grad()
        total = ours(model, 0.3)
        total.backward()
        arrays = [model[i].weight.detach().numpy() for i in (0, 2)]
        assert abs(total.item() - sum(wanted(w, strength=0.3) for w in arrays)) < 1e-12
        for i, w in zip((0, 2), arrays, strict=True):
            np.testing.assert_allclose(
                model[i].weight.grad, back(1.0, w, strength=0.3)["x"], atol=1e-14
            )
        assert model[0].bias.grad is None and model[1].weight.grad is None
    assert layers.l2_penalty(nn.BatchNorm2d(3), 1.0).item() == 0
    assert layers.l2_penalty(nn.LayerNorm((3, 4, 4)), 1.0).item() == 0


@pytest.mark.parametrize("kind", [layers.Dropout, layers.Dropout2d])
def test_dropout_given_its_mask(kind):
    x = torch.randn(50, 40, 3, 3, dtype=torch.float64, requires_grad=True)
    y = kind(0.3)(x)
    mask = (y != 0).double().numpy()
    g = torch.randn_like(x)
    y.backward(g)
    plain = x.detach().numpy()
    np.testing.assert_allclose(
        y.detach(), regularization.dropout(plain, mask, rate=0.3), rtol=1e-12
    )
    wanted = regularization.dropout_backward(g.numpy(), plain, mask, rate=0.3)["x"]
    np.testing.assert_allclose(x.grad, wanted, rtol=1e-12)  # type: ignore[arg-type]
    assert abs(mask.mean() - 0.7) < 0.05
    assert torch.equal(kind(0.3).eval()(x), x)
