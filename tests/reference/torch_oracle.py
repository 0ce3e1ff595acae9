"""torch in float64 as the independent oracle: values and autograd's gradients, or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def close(ours: Any, theirs: Any, tolerance: float = 1e-12, what: str = "") -> None:
    """Raise unless shapes agree, NaNs agree, and the worst error is within tolerance * size."""
    a, b = np.asarray(ours), np.asarray(theirs)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, torch has {b.shape}"
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=what)
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    size = max(1.0, float(np.abs(b).max(initial=0)))
    worst = float(np.abs(a - b).max(initial=0)) / size
    assert worst <= tolerance, f"{what}: relative error {worst:.2e} > {tolerance:.0e}"


def tensor(value: Any, *, learn: bool = True) -> Any:
    """Float arrays become leaves that want a gradient; integer arrays plain tensors."""
    if not isinstance(value, np.ndarray):
        return value
    made = torch.tensor(value)
    return made.requires_grad_(learn) if made.is_floating_point() else made


def check(
    forward: Callable[..., Any],
    backward: Callable[..., dict[str, Any]],
    theirs: Callable[..., torch.Tensor],
    /,
    *,
    tolerance: Any = 1e-12,
    **args: Any,
) -> None:
    """Forward and every gradient against torch: `forward(**args)` beside `theirs(**args)`."""
    leaves = {name: tensor(value) for name, value in args.items()}
    y = theirs(**leaves)
    close(forward(**args), y.detach().numpy(), tolerance, "y")
    g = np.random.default_rng(7).normal(size=y.shape)
    y.backward(torch.tensor(g))
    for name, ours in backward(g, **args).items():
        leaf = leaves[name]
        wanted = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        close(ours, wanted, tolerance, f"gradient by {name}")
