"""How one module becomes another and back: its class changes, the object stays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks

from visus.layers import norm as norms

BEFORE = "_visus_before"  # on a swapped module: its class, and the names that came with ours
READER = "_visus_reader"  # on a fused norm: the activation module that reads it
WRITER = "_visus_writer"  # on an activation: the one norm that is all it ever reads

# Activations that the kernels fuse: what the norm's `act` is called, from the module's options.
ACTIVATIONS: dict[type[nn.Module], Any] = {
    nn.ReLU: lambda m: "relu",
    nn.LeakyReLU: lambda m: ("leaky-relu", m.negative_slope),
    nn.ELU: lambda m: ("elu", m.alpha),
    nn.Sigmoid: lambda m: "sigmoid",
    nn.Tanh: lambda m: "tanh",
}


# ---- in general -----------------------------------------------------------------------


def become(module: nn.Module, cls: type[nn.Module], **state: Any) -> None:
    """Give `module` the class `cls` and the `state` that this class keeps on its objects."""
    before, added = module.__dict__.get(BEFORE, (type(module), ()))
    new = tuple(key for key in state if key not in module.__dict__)
    module.__dict__.update(state)
    module.__dict__[BEFORE] = (before, (*added, *new))
    module.__class__ = cls


def is_swapped(module: nn.Module) -> bool:
    """Whether `module` holds what is needed to turn it back."""
    return BEFORE in module.__dict__


def unswap(module: nn.Module) -> None:
    """Give `module` its class back, and take away what `become` added."""
    cls, added = module.__dict__.pop(BEFORE)
    for key in added:
        del module.__dict__[key]
    module.__class__ = cls


# ---- norm and activation as one -------------------------------------------------------


def listening(norm: nn.Module, act: nn.Module) -> bool:
    """Whether a hook would see, or change, what passes from `norm` to `act`."""
    return bool(
        norm._forward_hooks or norm._backward_hooks or norm._backward_pre_hooks
        or act._forward_pre_hooks or act._forward_hooks
        or act._backward_hooks or act._backward_pre_hooks
        or global_hooks._global_forward_hooks or global_hooks._global_forward_pre_hooks
        or global_hooks._global_backward_hooks or global_hooks._global_backward_pre_hooks
    )  # fmt: skip


class _Fused:
    """Mixin for a norm: it activates too, and says so on the tensor, unless a hook listens."""

    @property
    def act(self) -> Any:
        (reader,) = self.__dict__[READER]
        # torch.compile does not follow marks on tensors: there, a pair must be made for each other.
        apart = torch.compiler.is_compiling() and WRITER not in reader.__dict__
        if apart or listening(self, reader):  # type: ignore[arg-type]
            return None
        return ACTIVATIONS[original(reader)](reader)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        y = super().forward(input)  # type: ignore[misc]
        if self.act is not None and not torch.compiler.is_compiling():
            y._visus_activated = True
        return y


class _HandsThrough:
    """Mixin for an activation: what is already activated passes as it is, once."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            writer = self.__dict__.get(WRITER)
            done = writer is not None and writer[0].act is not None
        else:
            done = getattr(input, "_visus_activated", False)
        if not done:
            return super().forward(input)  # type: ignore[misc]
        if not torch.compiler.is_compiling():
            input._visus_activated = False  # type: ignore[attr-defined]
        return input


def _with(mixin: type, cls: type[nn.Module]) -> type[nn.Module]:
    """The class `Fused<Name>`, under its name in this module so that it can be pickled."""
    made = type(f"Fused{cls.__name__}", (mixin, cls), {"__module__": __name__})
    globals()[made.__name__] = made
    return made


def _norms() -> dict[type[nn.Module], type[nn.Module]]:
    """torch.nn's norms and ours of the same name that are made from them.

    SyncBatchNorm stays: how processes talk to each other is not ours to change in place.
    """
    ours = [c for c in vars(norms).values() if isinstance(c, type) and issubclass(c, nn.Module)]
    pairs = [(getattr(nn, c.__name__, None), c) for c in ours]
    fit = [(t, c) for t, c in pairs if t is not None and t is not c and issubclass(c, t)]
    return {t: c for t, c in fit if t is not nn.SyncBatchNorm}


NORMS = _norms()
FUSED = {ours: _with(_Fused, ours) for ours in NORMS.values()}
HANDS_THROUGH = {act: _with(_HandsThrough, act) for act in ACTIVATIONS}
KINDS = (
    nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm
)  # fmt: skip


# ---- decisions ------------------------------------------------------------------------


def original(module: nn.Module) -> type[nn.Module]:
    """The class of `module`, or the one it had before."""
    return module.__dict__.get(BEFORE, (type(module),))[0]


def kind_of(module: nn.Module) -> str | None:
    """The class name of a norm, ours and subclasses included; None for other modules."""
    return original(module).__name__ if isinstance(module, KINDS) else None


def refusal(module: nn.Module) -> str | None:
    """Why a norm is not swapped, or None."""
    if is_swapped(module):
        return "it is optimized already"
    cls = type(module)
    if cls in vars(norms).values():
        return "it is visus' own already"
    if cls not in NORMS:
        parent = next((t for t in NORMS if isinstance(module, t)), None)
        made = f"a subclass of {parent.__name__}" if parent else "a kind that visus does not have"
        return f"{cls.__module__}.{cls.__name__} is {made}"
    if "forward" in module.__dict__:
        return "its forward is replaced on the instance"
    return None


def cannot_hand_through(act: nn.Module) -> str | None:
    """Why an activation module cannot be fused into the norm before it, or None."""
    if original(act) not in ACTIVATIONS:
        return f"({type(act).__name__}) reads it, which the kernels do not fuse"
    if "forward" in act.__dict__:
        return "has a forward of its own on the instance"
    return None


def swap(norm: nn.Module, reader: nn.Module | None, *, alone: bool = False) -> None:
    """Put `norm` on the kernels, by itself or with the activation module that reads it.

    `alone` says that the activation reads nothing but this norm.
    """
    ours = NORMS[type(norm)]
    if reader is None:
        become(norm, ours, act=None)
        return
    become(norm, FUSED[ours], **{READER: (reader,)})
    cls = type(reader) if is_swapped(reader) else HANDS_THROUGH[type(reader)]
    become(reader, cls, **({WRITER: (norm,)} if alone else {}))
