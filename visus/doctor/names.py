"""What the doctor calls the parts of a program: modules, parameters, operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

WEIGHT = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"}
NORM = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"}
ACTIVATION = {"relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "selu", "softplus",
              "sigmoid", "tanh", "hardtanh", "hardswish", "softmax", "log_softmax", "logsigmoid", "prelu",
              "celu", "softmin", "clamp", "hardsigmoid", "threshold"}  # fmt: skip
LOSS = {"cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
        "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "gaussian_nll_loss",
        "poisson_nll_loss", "multi_margin_loss", "multilabel_soft_margin_loss", "soft_margin_loss",
        "hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss"}  # fmt: skip
SHAPE = {"view", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous", "float", "to",
         "double", "permute", "transpose", "view_as", "reshape_as", "squeeze_", "clone"}  # fmt: skip


def operation(func: Any) -> str:
    """The bare name of a torch function: `relu_`, `torch.relu` and `F.relu` are all `relu`."""
    name = getattr(func, "__name__", "") or str(func)
    if name == "__get__":
        return "attribute"
    return name.strip("_")


def unwrap(module: nn.Module) -> nn.Module:
    """The network inside `torch.compile`, DataParallel and DistributedDataParallel."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


class Names:
    """Readable places for the parameters and modules of the networks seen so far."""

    def __init__(self) -> None:
        self.roots: list[nn.Module] = []
        self.compiled: set[int] = set()
        self.strays: dict[int, torch.Tensor] = {}  # weights in use that no network knows
        self._parameters: dict[int, str] = {}
        self._modules: dict[int, str] = {}

    def root(self, module: nn.Module) -> None:
        """Learn the names inside a network that the program calls directly."""
        inner = unwrap(module)
        if any(inner is known for known in self.roots):
            return
        self.roots.append(inner)
        if hasattr(module, "_orig_mod"):
            self.compiled.add(id(inner))
        prefix = self._learn(inner)
        for name, part in inner.named_modules():
            self._modules.setdefault(id(part), (prefix + name) or type(inner).__name__)

    def stray(self, weight: torch.Tensor, module: nn.Module) -> str | None:
        """The name of a trainable weight whose layer hangs in a plain list or dict of a network.

        `hidden[0].weight`; None for what is no leaf, is frozen, or belongs to no such layer.
        """
        if id(weight) in self._parameters or not (weight.is_leaf and weight.requires_grad):
            return self._parameters.get(id(weight))
        for root in self.roots:  # a layer may have been put in on the way
            self._learn(root)
        if id(weight) not in self._parameters:
            place = next((f"{path}{at}" for path, part in self._parts()
                          for at in _kept(part, module)), None)  # fmt: skip
            own = [n for n, p in module.named_parameters(recurse=False) if p is weight]
            if place is not None and own:
                self.strays[id(weight)] = weight
                self._parameters[id(weight)] = f"{place}.{own[0]}"
        return self._parameters.get(id(weight))

    def _learn(self, root: nn.Module) -> str:
        """Name the parameters that this network holds now; what is put in front of its own names."""
        prefix = "" if root is self.roots[0] else f"{type(root).__name__}."
        for name, parameter in root.named_parameters():
            self._parameters.setdefault(id(parameter), prefix + name)
        return prefix

    def _parts(self) -> Iterable[tuple[str, nn.Module]]:
        for root in self.roots:
            for name, part in root.named_modules():
                yield f"{name}." if name else "", part

    def alias(self, pairs: Iterable[tuple[nn.Module, nn.Module]]) -> None:
        """Give the parameters of copies the names of their originals."""
        for copied, original in pairs:
            own = zip(copied.parameters(), original.parameters(), strict=True)
            for mine, theirs in own:
                if id(theirs) in self._parameters:
                    self._parameters[id(mine)] = self._parameters[id(theirs)]

    def parameter(self, tensor: torch.Tensor | None) -> str | None:
        """The full name of a parameter ("conv1.weight"), or None for other tensors."""
        return self._parameters.get(id(tensor))

    def module(self, module: nn.Module) -> str:
        """The path of a module ("features.0"), or its class where it is outside a network."""
        return self._modules.get(id(module), type(module).__name__)

    def knows(self, module: nn.Module) -> bool:
        """True for a module that belongs to a network already seen."""
        return id(module) in self._modules


def _kept(owner: nn.Module, wanted: nn.Module) -> Iterable[str]:
    # Where `wanted` lies in the plain lists and dicts of `owner`: "hidden[0]".
    for attribute, value in vars(owner).items():
        pairs = value.items() if isinstance(value, dict) else ()
        pairs = enumerate(value) if isinstance(value, (list, tuple)) else pairs
        for key, item in pairs:
            if isinstance(item, nn.Module) and any(part is wanted for part in item.modules()):
                yield f"{attribute}[{key!r}]"


def layer_of(parameter: str) -> str:
    """ "features.0.weight" belongs to the layer "features.0"."""
    return parameter.rpartition(".")[0] or parameter
