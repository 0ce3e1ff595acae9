"""Test pixels for an audit: without targets, and written down in the ledger.

A look at test counts errors of a model, and each one makes the next a little less honest
(`Vault.look`). An audit compares pixels with pixels before there is a model: no choice about
the model can lean on it, so it has a ledger line of its own, `pixels {reason, n}`, and takes no
number among the looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from visus.data.vault import Vault
from visus.ledger import Ledger


class Untold:
    """Images with names, and no targets."""

    def __init__(self, images: Any):
        images = getattr(images, "images", images)  # of pairs the single images
        self.names: list[str] = images.names
        self._images = images

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 `(B, C, H, W)`."""
        return self._images.batch(indices)


def pixels(vault: Vault, ledger: Ledger, reason: str) -> Untold:
    """The test images without their targets; writes `pixels {reason, n}` into the ledger."""
    ledger.write("pixels", reason=reason, n=len(vault))
    return Untold(vault.look(reason, Ledger()))


class Joined:
    """Several sets of images one after the other."""

    def __init__(self, parts: Sequence[Any]):
        self.parts = list(parts)
        self.names: list[str] = [name for part in self.parts for name in part.names]
        sizes = torch.tensor([0, *(len(part) for part in self.parts)])
        self.first = sizes.cumsum(0)

    def __len__(self) -> int:
        return len(self.names)

    def part(self, rows: Tensor) -> Tensor:
        """The number of the set that each of the `rows` is in."""
        return torch.searchsorted(self.first, rows.contiguous(), right=True) - 1

    def batch(self, indices: Tensor) -> Tensor:
        """uint8 `(B, C, H, W)`, in the order of `indices`."""
        which, out = self.part(indices), None
        for k, part in enumerate(self.parts):
            at = (which == k).nonzero()[:, 0]
            if not len(at):
                continue
            found = part.batch(indices[at] - self.first[k])
            out = found.new_empty((len(indices), *found.shape[1:])) if out is None else out
            out[at] = found
        return self.parts[0].batch(indices) if out is None else out
