"""Initialization: weights that carry the variance of the signal through the depth.

A member of `inits` is called as `init(model, images, **options)` and changes the weights of every
convolution and linear layer in place; biases become 0. With z = sum over K inputs of w x,
independent and centered, var z = K var w var x: so var w = 1 / K keeps the variance forward,
1 / (number of outputs) keeps it backward, and a ReLU, which halves the power, asks for twice that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from visus.errors import UsageError
from visus.family import Family

inits = Family("init")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
MODES = {"in": 0, "out": 1}


def layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every convolution and linear layer of the model by name."""
    return ((name, m) for name, m in model.named_modules() if isinstance(m, LAYERS))


def fans(layer: nn.Module) -> tuple[int, int]:
    """(inputs of one output, outputs of one input) of a layer, groups taken into account."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    field = weight[0, 0].numel()
    return weight.shape[1] * field, weight.shape[0] // getattr(layer, "groups", 1) * field


@torch.no_grad()
def _each(model: nn.Module, fill: Callable[[nn.Module], Any]) -> None:
    for _, layer in layers(model):
        fill(layer)
        if isinstance(layer.bias, Tensor):
            layer.bias.zero_()


def _gaussian(model: nn.Module, variance: Callable[[nn.Module], float]) -> None:
    _each(model, lambda m: m.weight.normal_(0.0, variance(m) ** 0.5))  # type: ignore[union-attr, operator]


@inits.member
def zero(model: nn.Module, images: Tensor | None = None, /) -> None:
    """All weights 0: every unit of a layer gets the same gradient and they never differ."""
    _each(model, lambda m: m.weight.zero_())  # type: ignore[union-attr, operator]


@inits.member
def normal(model: nn.Module, images: Tensor | None = None, /, *, std: float = 0.01) -> None:
    """w ~ N(0, std^2), the same at every layer: too small or too large as the depth grows."""
    _gaussian(model, lambda m: std**2)


@inits.member
def xavier(model: nn.Module, images: Tensor | None = None, /) -> None:
    """var w = 2 / (fan in + fan out). Source: Glorot & Bengio 2010, eq. 12."""
    _gaussian(model, lambda m: 2.0 / sum(fans(m)))


@inits.member
def he(
    model: nn.Module, images: Tensor | None = None, /, *, mode: str = "in", slope: float = 0.0
) -> None:
    """var w = 2 / ((1 + slope^2) fan), fan "in" or "out", slope of the leaky ReLU.

    Source: He et al. 2015, eq. 10, 14 and 15.
    """
    if mode not in MODES:
        raise UsageError(f"init he: mode is '{mode}'; give in or out")
    _gaussian(model, lambda m: 2.0 / ((1 + slope**2) * fans(m)[MODES[mode]]))


@inits.member
def orthogonal(
    model: nn.Module, images: Tensor | None = None, /, *, gain: float = 2.0**0.5
) -> None:
    """Rows (or columns) of w orthogonal, of length `gain`, by group. Source: Saxe et al. 2014."""
    _each(model, lambda m: _rotate(m.weight, getattr(m, "groups", 1), gain))  # type: ignore[arg-type]


def _rotate(weight: Tensor, groups: int, gain: float) -> None:
    # A group is a layer of its own: together, the many short rows of a depthwise convolution
    # could not be orthogonal. The decomposition is not there in half precision.
    for part in weight.chunk(groups):
        part.copy_(
            nn.init.orthogonal_(part.to(torch.promote_types(part.dtype, torch.float32)), gain)
        )


@inits.member
def data(
    model: nn.Module, images: Tensor | None = None, /, *, tolerance: float = 0.01, tries: int = 10
) -> None:
    """Layer by layer, in the order of the forward pass, scaled until its outputs have variance 1.

    `images` is a normalized batch `(N, C, H, W)`. Orthogonal weights first, then each layer is
    divided by the deviation of its outputs until that is within `tolerance` of 1, at most
    `tries` times. Source: Mishkin & Matas 2016, algorithm 1 (LSUV).
    """
    if images is None:
        raise UsageError("init data: needs a batch of images; give one after the model")
    orthogonal(model, gain=1.0)
    with calm(model), torch.no_grad():
        for layer in ordered(model, images):
            for _ in range(tries):
                std = float(output_of(model, layer, images).std())
                if abs(std - 1.0) <= tolerance or not std > 1e-12:
                    break
                layer.weight.div_(std)  # type: ignore[union-attr, operator]


class calm:
    """Train mode, as the first step will see it, without touching any norm's running statistics or the generator."""

    def __init__(self, model: nn.Module):
        self.model = model

    def __enter__(self) -> None:
        self.modes = {m: m.training for m in self.model.modules()}
        self.random = torch.get_rng_state()
        self.buffers = [(b, b.clone()) for b in self.model.buffers()]
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.random)
        for module, mode in self.modes.items():
            module.training = mode
        with torch.no_grad():
            for buffer, held in self.buffers:
                buffer.copy_(held)


def ordered(model: nn.Module, images: Tensor) -> list[nn.Module]:
    """The convolutions and linear layers in the order the forward pass reaches them."""
    reached: dict[nn.Module, bool] = {}
    handles = [m.register_forward_hook(partial(_note, reached)) for _, m in layers(model)]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(reached)


def _note(reached: dict[nn.Module, bool], module: nn.Module, *_: Any) -> None:
    reached.setdefault(module, True)


def output_of(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What `layer` gives on a forward pass of `images`."""
    caught: list[Any] = []
    handle = layer.register_forward_hook(lambda _m, _i, out: caught.append(out))
    try:
        model(images)
    finally:
        handle.remove()
    return caught[-1].float()


def initialize(
    model: nn.Module, name: str, images: Tensor | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Initialize by a name of `inits`; returns the variances by layer where `images` are given."""
    inits.make(name, model, images, **options)
    return variances(model, images) if images is not None else []


def variances(model: nn.Module, images: Tensor) -> list[dict[str, Any]]:
    """{layer, forward, weight}: variance of the outputs and of the weights, in forward order."""
    names = {layer: name for name, layer in layers(model)}
    with calm(model), torch.no_grad():
        return [
            {
                "layer": names[layer],
                "forward": float(output_of(model, layer, images).var()),
                "weight": float(layer.weight.var()),  # type: ignore[union-attr, operator]
            }
            for layer in ordered(model, images)
        ]


__all__ = ["fans", "initialize", "inits", "variances"]
