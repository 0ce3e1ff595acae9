"""The norms under torch.func, where torch.nn's stand it: the same value, or the same kind of error."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from visus.layers import norm

NORMS = {
    "batch": lambda of: of.BatchNorm2d(4),
    "instance": lambda of: of.InstanceNorm2d(4, affine=True),
    "group": lambda of: of.GroupNorm(2, 4),
    "layer": lambda of: of.LayerNorm((4, 3, 2)),
}
TRANSFORMS = {
    "grad": lambda f, x: grad(lambda t: f(t).sin().sum())(x),
    "jvp": lambda f, x: jvp(f, (x,), (x.cos(),))[1],
    "jacrev": lambda f, x: jacrev(f)(x),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "hessian": lambda f, x: hessian(lambda t: f(t).sin().sum())(x),
    "vmap": lambda f, x: vmap(f)(torch.stack([x, x + 1])),
    "vmap of grad": lambda f, x: vmap(grad(lambda t: f(t).sin().sum()))(torch.stack([x, x * 2])),
}


def outcome(module, transform, training):
    """What the transform gives, or the kind of its error."""
    module = module.double().train(training)
    x = torch.randn(3, 4, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def run(t):  # running moments of its own
        state = {k: v.detach().clone() for k, v in module.state_dict().items()}
        return functional_call(module, state, (t,))

    try:
        return TRANSFORMS[transform](run, x).detach()
    except (RuntimeError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", NORMS)
def test_as_torch(name, transform, training):
    ours, theirs = (outcome(NORMS[name](of), transform, training) for of in (norm, nn))
    if isinstance(theirs, type):
        assert ours == theirs
    else:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_most_of_them_are_no_errors():
    found = [outcome(NORMS[n](nn), t, True) for n in NORMS for t in TRANSFORMS]
    assert sum(isinstance(f, torch.Tensor) for f in found) >= 26
