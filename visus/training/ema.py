"""The moving average of the weights: the model that is evaluated and kept when it is on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Average:
    """`a = d * a + (1 - d) * w` after each step, with `d = min(decay, (1 + n) / (10 + n))`.

    n counts the updates before this one: the average forgets the first weights quickly
    (as in Inception's training, Szegedy et al. 2016). The running statistics of the norms are
    averaged with the weights they belong to; counters are copied. `model` is the average.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take in the weights of `model` from here on: the same network, in other tensors."""
        ours, theirs = _tensors(self.model), _tensors(model)
        moving = [name for name, t in theirs.items() if t.is_floating_point()]
        self.ours, self.theirs = [ours[n] for n in moving], [theirs[n] for n in moving]
        self.counters = [(ours[n], t) for n, t in theirs.items() if not t.is_floating_point()]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take in the model's weights after its step number `updates` (from 0)."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self.ours, self.theirs, 1.0 - decay)
        for ours, theirs in self.counters:
            ours.copy_(theirs)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    found = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in found}
