"""Pairs of images, blended."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Generator, Tensor

from visus.data.jitter import jitters, within
from visus.data.jitter.draws import per_image
from visus.errors import UsageError
from visus.family import Range


@jitters.member
class Mixup:
    """x = a * x_i + (1 - a) * x_j, and the targets alike, a ~ Beta(alpha, alpha) (Zhang et al. 2018).

    Each image has a partner of the same batch and a share of its own. `alpha=0` mixes nothing.
    """

    mixes = True

    def __init__(self, *, alpha: Annotated[float, Range(0.05, 1.0, log=True)] = 0.2):
        self.alpha = within("jitter.mixup.alpha", alpha, 0, 100)

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Images `(N, C, H, W)` and probabilities `(N, K)`, blended; targets must be `(N, K)`."""
        if targets.ndim != 2:
            raise UsageError("jitter mixup: targets must be probabilities (N, K)")
        partner = torch.randperm(len(images), generator=generator).to(images.device)
        share = self.shares(len(images), generator)
        a = per_image(share, images)
        b = share.to(targets).view(-1, 1)
        mixed = torch.lerp(images[partner], images, a.expand_as(images))
        return mixed.clamp_(0, 1), targets[partner] + b * (targets - targets[partner])

    def shares(self, n: int, generator: Generator) -> Tensor:
        """`(n,)` from Beta(alpha, alpha), by NumPy: torch's own takes no generator."""
        seed = int(torch.randint(2**62, (1,), generator=generator))
        if self.alpha == 0:
            return torch.ones(n)
        drawn = np.random.default_rng(seed).beta(self.alpha, self.alpha, n)
        return torch.from_numpy(drawn.astype(np.float32))
