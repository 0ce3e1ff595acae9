"""Every layer that has a reference agrees with it in float64 to 1e-12: y, dx, parameters' gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from visus import layers
from visus.reference import activation, convolution, linear, mixture, normalization, pooling

NORM = {"weight": "gamma", "bias": "beta"}
GATE, SWITCH = (
    {**NORM, "gate": "rho"},
    {**NORM, "mean_weight": "mean_weight", "var_weight": "var_weight"},
)
PLAIN = {"weight": "weight", "bias": "bias"}
CONV: dict[str, Any] = {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}
POOL: dict[str, Any] = {"stride": 2, "padding": 1, "ceil_mode": True}


def pair(topic: Any, name: str, *args: Any, **options: Any) -> tuple[Callable, Callable]:
    """f(x, ...) and f_backward(g, x, ...) with their options filled in."""
    forward, backward = getattr(topic, name), getattr(topic, f"{name}_backward")
    return (
        lambda x, **given: forward(x, *args, **given, **options),
        lambda g, x, **given: backward(g, x, *args, **given, **options),
    )


CASES = {
    "BatchNorm2d": (lambda: layers.BatchNorm2d(6), pair(normalization, "batch_norm"), NORM),
    "InstanceNorm2d": (
        lambda: layers.InstanceNorm2d(6, affine=True), pair(normalization, "instance_norm"), NORM,
    ),
    "GroupNorm": (lambda: layers.GroupNorm(3, 6), pair(normalization, "group_norm", 3), NORM),
    "LayerNorm": (lambda: layers.LayerNorm((6, 7, 5)), pair(normalization, "layer_norm"), NORM),
    "LayerNorm2d": (lambda: layers.LayerNorm2d(6), pair(normalization, "pixel_norm"), NORM),
    "BatchInstanceNorm2d": (
        lambda: layers.BatchInstanceNorm2d(6), pair(mixture, "batch_instance_norm"), GATE,
    ),
    "SwitchNorm2d": (lambda: layers.SwitchNorm2d(6), pair(mixture, "switch_norm"), SWITCH),
    "Conv2d": (
        lambda: layers.Conv2d(6, 4, 3, **CONV), pair(convolution, "convolution", **CONV), PLAIN,
    ),
    "Linear": (lambda: layers.Linear(5, 3), pair(linear, "linear"), PLAIN),
    "Sigmoid": (layers.Sigmoid, pair(activation, "sigmoid"), {}),
    "Tanh": (layers.Tanh, pair(activation, "tanh"), {}),
    "ReLU": (layers.ReLU, pair(activation, "relu"), {}),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.2), pair(activation, "leaky_relu", slope=0.2), {}),
    "ELU": (lambda: layers.ELU(0.7), pair(activation, "elu", alpha=0.7), {}),
    "Maxout": (lambda: layers.Maxout(3), pair(activation, "maxout", 3), {}),
    "MaxPool2d": (lambda: layers.MaxPool2d(3, **POOL), pair(pooling, "max_pool", 3, **POOL), {}),
    "AvgPool2d": (lambda: layers.AvgPool2d(3, **POOL), pair(pooling, "average_pool", 3, **POOL), {}),
}  # fmt: skip


def agrees(
    module: torch.nn.Module, reference: tuple, names: dict[str, str], mean: float, last: bool
) -> None:
    """Raise unless y, dx and each parameter's gradient are those of the reference."""
    rng = np.random.default_rng(3)
    module = module.double().train()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            low = 0.0 if name == "gate" else -1.0
            parameter.copy_(torch.tensor(rng.uniform(low, 1, size=tuple(parameter.shape))))
    given = {names[n]: p.detach().numpy().copy() for n, p in module.named_parameters()}
    x = mean + rng.normal(size=(3, 6, 7, 5))
    leaf = torch.tensor(x)
    leaf = (leaf.to(memory_format=torch.channels_last) if last else leaf).requires_grad_()
    y = module(leaf)
    g = rng.normal(size=y.shape)
    y.backward(torch.tensor(g))
    wanted = reference[1](g, x, **given)
    tolerance = 1e-12 * max(1.0, mean / 10)
    _close(y, reference[0](x, **given), tolerance, "y")
    _close(leaf.grad, wanted["x"], tolerance, "dx")
    for name, parameter in module.named_parameters():
        _close(parameter.grad, wanted[names[name]], tolerance, name)


def _close(ours: Any, wanted: np.ndarray, tolerance: float, what: str) -> None:
    ours = ours.detach().numpy()
    assert ours.shape == wanted.shape, what
    worst = np.abs(ours - wanted).max() / max(1, np.abs(wanted).max())
    assert worst <= tolerance, f"{what}: {worst:.1e} off the reference"


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("name", CASES)
def test_layer_agrees_with_its_reference(name, mean, last):
    make, reference, names = CASES[name]
    agrees(make(), reference, names, mean, last)


class _Naive(layers.BatchNorm2d):
    """The variance as E[x^2] - E[x]^2."""

    def forward(self, input):
        mean = input.mean((0, 2, 3), keepdim=True)
        var = (input * input).mean((0, 2, 3), keepdim=True) - mean**2
        w, b = (p.reshape(1, -1, 1, 1) for p in (self.weight, self.bias))
        return (input - mean) / (var + self.eps).sqrt() * w + b


def test_the_naive_variance_is_seen():
    make, (_, reference, names) = (lambda: _Naive(6)), CASES["BatchNorm2d"]
    agrees(make(), reference, names, 0.0, False)  # at mean 0 nobody notices
    with pytest.raises(AssertionError, match="off the reference"):
        agrees(make(), reference, names, 1e4, False)
