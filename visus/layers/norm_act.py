"""The activation that a norm computes too: what `act=` may be, and how it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from visus.errors import UsageError, unknown
from visus.kernels.torch_backend import ACTIVATIONS

Act = str | tuple[str, float] | None

SLOPES = {"leaky-relu": 0.01, "elu": 1.0}  # alpha where none is given, as torch.nn's
# Not in the kernels: one more pass after the norm.
AFTER: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
}


_PARSED: dict[Any, Any] = {}


def parse(act: Act) -> tuple[str, float, Callable[[Tensor], Tensor] | None]:
    """(activation in the kernel, its alpha, function to call after it or None).

    `act` is None, a name as in torch.nn.functional or in a recipe ("leaky_relu" or
    "leaky-relu"), or `(name, alpha)` for another slope or scale.
    """
    found = _PARSED.get(act)
    if found is None:
        found = _PARSED[act] = _parse(act)
    return found


def _parse(act: Act) -> tuple[str, float, Callable[[Tensor], Tensor] | None]:
    if act is None:
        return "none", 0.0, None
    name, alpha = (act, None) if isinstance(act, str) else act
    name = name.replace("_", "-")
    if name in AFTER:
        return "none", 0.0, AFTER[name]
    if name not in ACTIVATIONS:
        raise UsageError(unknown("act", name, [*ACTIVATIONS, *AFTER]))
    return name, SLOPES.get(name, 0.0) if alpha is None else float(alpha), None


def activate(y: Tensor, act: Act) -> Tensor:
    """`y` through the activation, where no kernel of ours computed `y`."""
    name, alpha, after = parse(act)
    y = y if name == "none" else ACTIVATIONS[name][0](y, alpha)
    return y if after is None else after(y)


class Activated:
    """Mixin for a norm: keeps `act`, checked, and shows it."""

    act: Any = None

    def extra_repr(self) -> str:
        shown = super().extra_repr()  # type: ignore[misc]
        return shown if self.act is None else f"{shown}, act={self.act!r}"


def checked(act: Act) -> Act:
    """`act` as it was given, after a look that it is known."""
    act = tuple(act) if isinstance(act, list) else act  # type: ignore[assignment]
    parse(act)
    return act
