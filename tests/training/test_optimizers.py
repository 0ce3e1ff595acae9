"""Optimizers and penalties against torch and formulas; which weights decay, at which rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visus.training import load_recipe
from visus.training.optimizers import make_optimizer, parameter_groups, set_rate


def net() -> nn.Module:
    torch.manual_seed(3)
    # No bias before the norm: its gradient is rounding alone, which Adam would blow up.
    convolution = nn.Conv2d(1, 4, 3, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).double()


def loss(model: nn.Module, step: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(step)
    x = torch.randn(8, 1, 4, 4, generator=draw, dtype=torch.float64)
    y = torch.randint(3, (8,), generator=draw)
    return nn.functional.cross_entropy(model(x), y)


def train(model, optimizer, penalty=None, extra=None, before=None) -> dict[str, torch.Tensor]:
    for step in range(5):
        optimizer.zero_grad()
        value = loss(model, step) + (extra(model) if extra else 0.0)
        value.backward()
        if penalty is not None:
            set_rate(optimizer, 0.1)
            penalty.apply()
        if before is not None:
            before(model)
        optimizer.step()
    return {k: v.detach().clone() for k, v in model.named_parameters()}


def ours(*sets: str) -> dict[str, torch.Tensor]:
    model = net()
    return train(model, *make_optimizer(model, load_recipe(None, sets)))


def torch_groups(model: nn.Module, decay: float) -> list[dict]:
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def assert_close(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-12, atol=1e-14)


def squares(model: nn.Module) -> torch.Tensor:
    return sum((w**2).sum() for w in model.parameters() if w.ndim > 1) / 2  # type: ignore[return-value]


def test_sgd_is_torchs_with_nesterov():
    model = net()
    theirs = torch.optim.SGD(torch_groups(model, 0.02), 0.1, momentum=0.8, nesterov=True)
    expected = train(model, theirs)
    assert_close(ours("optimizer.momentum=0.8", "regularization.l2=0.02"), expected)


def test_adamw_is_torchs():
    model = net()
    theirs = torch.optim.AdamW(torch_groups(model, 0.02), 0.1, betas=(0.8, 0.9))
    expected = train(model, theirs)
    sets = ("optimizer=adamw", "optimizer.beta1=0.8", "optimizer.beta2=0.9", "l2=0.02")
    assert_close(ours(*sets), expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_coupled_penalty_is_the_gradient_of_half_the_squares(name):
    model = net()
    plain, none = make_optimizer(model, load_recipe(None, [f"optimizer={name}", "l2=0"]))
    expected = train(model, plain, none, extra=lambda m: 0.02 * squares(m))
    assert_close(ours(f"optimizer={name}", "l2=0.02", "regularization.decoupled=false"), expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_decoupled_penalty_shrinks_by_rate_times_strength(name):
    def shrink(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.mul_(1 - 0.1 * 0.02)

    model = net()
    plain, none = make_optimizer(model, load_recipe(None, [f"optimizer={name}", "l2=0"]))
    expected = train(model, plain, none, before=shrink)
    assert_close(ours(f"optimizer={name}", "l2=0.02", "regularization.decoupled=true"), expected)


def test_l1_is_the_gradient_of_the_absolute_sum():
    model = net()
    plain, none = make_optimizer(model, load_recipe(None, ["l2=0"]))
    expected = train(
        model, plain, none,
        extra=lambda m: 0.01 * sum(w.abs().sum() for w in m.parameters() if w.ndim > 1),
    )  # fmt: skip
    assert_close(ours("l2=0", "regularization.l1=0.01"), expected)


def test_groups_by_decay_and_by_freshness():
    model = net()
    recipe = load_recipe(None, ["model.pretrained=w.safetensors", "optimizer.body_rate=0.25"])
    groups = parameter_groups(model, recipe, fresh={"3.weight", "3.bias"})
    found = {(g["share"], g["decay"]): {tuple(p.shape) for p in g["params"]} for g in groups}
    assert found == {
        (0.25, True): {(4, 1, 3, 3)},
        (0.25, False): {(4,)},
        (1.0, True): {(3, 16)},
        (1.0, False): {(3,)},
    }
    optimizer, _ = make_optimizer(model, recipe, ["3.weight", "3.bias"])
    set_rate(optimizer, 0.4)
    assert sorted({g["lr"] for g in optimizer.param_groups}) == [0.1, 0.4]


def test_frozen_parameters_are_left_out_and_hints_of_layers_count():
    model = net()
    model[0].weight.requires_grad_(False)  # type: ignore[union-attr]
    model[3].weight.decays, model[3].weight.rate_share = False, 0.5  # type: ignore[union-attr]
    groups = parameter_groups(model, load_recipe(), set())
    assert {(g["share"], g["decay"]) for g in groups} == {(1.0, False), (0.5, False)}
    assert sum(len(g["params"]) for g in groups) == 4


def test_no_momentum_no_nesterov():
    model = net()
    make_optimizer(model, load_recipe(None, ["optimizer.momentum=0.0"]))


def test_the_scale_of_a_norm_never_decays_whatever_its_shape():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LayerNorm((4, 6, 6)))
    groups = parameter_groups(network, load_recipe(), set())
    decaying = [id(p) for group in groups if group["decay"] for p in group["params"]]
    assert decaying == [id(network[0].weight)]
