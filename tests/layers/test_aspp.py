"""ASPP against the concatenation of the textbook: the reference, receptive fields, small planes."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch

from visus.errors import UsageError
from visus.layers import ASPP
from visus.reference import atrous

RATES = (1, 2, 4)


def made(**options):
    torch.manual_seed(0)
    module = ASPP(3, 4, RATES, **options).double()
    with torch.no_grad():
        for p in module.parameters():
            p.uniform_(-0.5, 0.5)
    return module


def parts(module):
    """The module's weights as the units of the reference, its projections side by side."""
    units = [
        {"weight": conv.weight, "gamma": norm.weight, "beta": norm.bias} for conv, norm in module.branches
    ]  # fmt: skip
    image = (
        {"weight": module.pooled[0].weight, "bias": module.pooled[0].bias}
        if module.pooled
        else None
    )
    project = {
        "weight": torch.cat([p.weight for p in module.projections], 1),
        "gamma": module.norm.weight, "beta": module.norm.bias,
    }  # fmt: skip
    arrays = [
        {k: v.detach().numpy() for k, v in unit.items()} for unit in (*units, image or {}, project)
    ]
    return arrays[:-2], arrays[-2] or None, arrays[-1]


@pytest.mark.parametrize("pooling", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (3, 3, 1, 1), (2, 3, 5, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_equals_the_concatenation(shape, pooling, last):
    module, draw = made(pooling=pooling), np.random.default_rng(0)
    x = torch.tensor(draw.normal(size=shape))
    x = (x.to(memory_format=torch.channels_last) if last else x).requires_grad_()
    y = module(x)
    g = draw.normal(size=tuple(y.shape))
    y.backward(torch.tensor(g))
    given = (x.detach().numpy(), *parts(module))
    rates = (1, *RATES)
    np.testing.assert_allclose(y.detach(), atrous.aspp(*given, rates=rates), rtol=0, atol=1e-12)
    wanted = atrous.aspp_backward(g, *given, rates=rates)
    size = 1e-12 * max(1, float(np.abs(wanted["x"]).max()))
    np.testing.assert_allclose(x.grad, wanted["x"], rtol=0, atol=size)
    for (conv, norm), found in zip(module.branches, wanted["branches"], strict=True):
        for ours, name in ((conv.weight, "weight"), (norm.weight, "gamma"), (norm.bias, "beta")):
            size = 1e-12 * max(1, float(np.abs(found[name]).max()))
            np.testing.assert_allclose(ours.grad, found[name], rtol=0, atol=size)
    columns = torch.cat([p.weight.grad for p in module.projections], 1)
    np.testing.assert_allclose(columns, wanted["project"]["weight"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("rate", [1, 3, 5])
def test_receptive_field_is_that_of_the_rate(rate):
    module = ASPP(1, 2, (rate,), norm="none", activation="none", pooling=False).double()
    x = torch.zeros(1, 1, 21, 21, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 10, 10].sum().backward()
    seen = x.grad[0, 0].nonzero()
    spans = seen.max(0).values - seen.min(0).values + 1
    assert spans.tolist() == [atrous.receptive_field(3, rate)] * 2 and len(seen) == 9


def test_image_pooling_sees_everything():
    x = torch.zeros(1, 1, 21, 21, dtype=torch.float64, requires_grad=True)
    module = ASPP(1, 8, (1,), norm="none", activation="none").double()
    with torch.no_grad():
        module.pooled[0].bias.fill_(1.0)
    module(x)[0, :, 10, 10].sum().backward()
    assert (x.grad != 0).all()


@pytest.mark.parametrize("rates", [(), (0, 2), (-1,), (1.5,)])
def test_rates_that_are_none(rates):
    with pytest.raises(
        UsageError, match=r"aspp: rates are .*; give whole numbers from 1"
    ) as caught:
        ASPP(3, 4, rates)
    assert "\n" not in str(caught.value)


def test_copies_compile_half_and_gradients():
    module, x = made(), torch.randn(2, 3, 6, 5, dtype=torch.float64)
    twin = made(dropout=0.0)
    twin.load_state_dict(module.state_dict())
    for other in (twin, copy.deepcopy(module)):
        assert torch.equal(other(x), made()(x))
    saved = io.BytesIO()
    torch.save(module, saved)
    saved.seek(0)
    assert torch.equal(torch.load(saved, weights_only=False).eval()(x), module.eval()(x))
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), module(x))
    assert torch.autograd.gradcheck(module.eval(), x[:1, :, :3, :3].clone().requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        y = copy.deepcopy(module).float()(x.float())
    torch.testing.assert_close(y.double(), module(x), rtol=0.1, atol=0.05)
    assert module(x[:0]).shape == (0, 4, 6, 5)
