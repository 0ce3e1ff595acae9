"""Who turns gradients into steps, and which parameters get which rate and penalty.

To add an optimizer, define here a `torch.optim.Optimizer` with `@optimizers.member`; its
keyword parameters with a default are its recipe options, and its attributes say what "auto"
means for it: `rate` (peak, at 128 images a step), `scaling` (power of the batch size that the
rate follows), `l2`, and `decoupled` (the form of its own `weight_decay`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from torch import nn

from visus.family import Family, Range
from visus.layers.regularize import weights
from visus.training.recipe import Recipe

optimizers = Family("optimizer")


@optimizers.member
class Sgd(torch.optim.SGD):
    """`v = momentum * v + g; w -= rate * (g + momentum * v)` (Nesterov; Sutskever et al. 2013)."""

    rate, scaling, l2, decoupled = 0.1, 1.0, 5e-4, False

    def __init__(
        self, groups: Any, lr: float, weight_decay: float, /, *,
        momentum: Annotated[float, Range(0.7, 0.98)] = 0.9, nesterov: bool = True,
    ):  # fmt: skip
        super().__init__(
            groups, lr, momentum, weight_decay=weight_decay, foreach=True,
            nesterov=nesterov and momentum > 0,
        )  # fmt: skip


@optimizers.member("adamw")
class AdamW(torch.optim.AdamW):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, algorithm 2)."""

    rate, scaling, l2, decoupled = 6e-3, 0.5, 0.05, True

    def __init__(
        self, groups: Any, lr: float, weight_decay: float, /, *,
        beta1: Annotated[float, Range(0.8, 0.95)] = 0.9, beta2: float = 0.999, eps: float = 1e-8,
    ):  # fmt: skip
        super().__init__(
            groups, lr, (beta1, beta2), eps, weight_decay=weight_decay, foreach=True
        )  # fmt: skip


class Penalty:
    """What the optimizer does not bring itself: L1, and L2 in the other form.

    L1 adds `l1 * sign(w)` to the gradient (its subgradient, 0 at 0); the decoupled L2 takes
    `rate * l2 * w` off the weight, the coupled one adds `l2 * w` to the gradient. Only weights
    that may decay are touched.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, l1: float, coupled: float, apart: float):
        self.groups = [g for g in optimizer.param_groups if g["decay"] and (l1 or coupled or apart)]
        self.l1, self.coupled, self.apart = l1, coupled, apart

    @torch.no_grad()
    def apply(self) -> None:
        """Change the gradients, or the weights by the rate of their group, before the step."""
        for group in self.groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._change(weight, group["lr"])

    def _change(self, weight: torch.Tensor, rate: float) -> None:
        assert weight.grad is not None
        if self.l1:
            weight.grad.add_(weight.sign(), alpha=self.l1)
        if self.coupled:
            weight.grad.add_(weight, alpha=self.coupled)
        if self.apart:
            weight.mul_(1.0 - rate * self.apart)


def make_optimizer(
    network: nn.Module, recipe: Recipe, fresh: Iterable[str] = ()
) -> tuple[torch.optim.Optimizer, Penalty]:
    """The optimizer of a resolved recipe over the trainable parameters of `network`.

    `fresh` names the parameters of a new head: with `model.pretrained` the others get
    `optimizer.body_rate` times the rate; the rate itself is set at each step. Biases and the
    parameters of norms do not decay. Each group's `share` multiplies the rate of the schedule.
    """
    kind, wish = optimizers[recipe.optimizer.name], recipe.regularization
    l2 = kind.l2 if wish.l2 == "auto" else float(wish.l2)  # type: ignore[attr-defined]
    own = wish.decoupled in ("auto", kind.decoupled)  # type: ignore[attr-defined]
    groups = parameter_groups(network, recipe, set(fresh))
    optimizer = optimizers.make(
        recipe.optimizer.name, groups, 0.0, l2 if own else 0.0,
        **recipe.optimizer.options(),
    )  # fmt: skip
    for group in optimizer.param_groups:
        group["weight_decay"] *= group["decay"]
    coupled, apart = (0.0, 0.0) if own else (l2, 0.0) if wish.decoupled is False else (0.0, l2)
    return optimizer, Penalty(optimizer, wish.l1, coupled, apart)


def parameter_groups(network: nn.Module, recipe: Recipe, fresh: set[str]) -> list[dict[str, Any]]:
    """Parameters by (share of the rate, decays or not); never an empty group."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    decaying = {id(weight) for weight in weights(network)}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            body = recipe.model.pretrained is not None and name not in fresh
            share = recipe.optimizer.body_rate if body else 1.0
            share *= getattr(weight, "rate_share", 1.0)
            decays = id(weight) in decaying and getattr(weight, "decays", True)
            groups.setdefault((share, decays), []).append(weight)
    return [
        {"params": found, "share": share, "decay": decays}
        for (share, decays), found in sorted(groups.items(), key=lambda item: item[0])
    ]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
