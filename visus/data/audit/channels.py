"""Channels: raw moments, constant ones, and images without content."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from visus.data.audit.descriptors import BLOCK, Pixels

BLANK = 2.0  # bytes of deviation below which an image shows nothing


@dataclass(frozen=True)
class Channels:
    """Mean and deviation of each channel in [0, 1]; `constant` channels; rows of `blank` images;
    `equal` where three channels are one and the same."""

    mean: list[float]
    std: list[float]
    constant: list[int]
    blank: Tensor
    equal: bool


def channels(images: Pixels, chosen: Tensor | None = None) -> Channels:
    """One pass over all pixels, or those of the `chosen` rows."""
    total, square, count = torch.zeros(0), torch.zeros(0), 0
    blank, equal = [torch.zeros(0, dtype=torch.int64)], True
    chosen = torch.arange(len(images)) if chosen is None else chosen
    for rows in chosen.split(BLOCK) if len(chosen) else ():
        batch = images.batch(rows)
        values = batch.double()
        sums, squares = values.sum((0, 2, 3)), values.square().sum((0, 2, 3))
        total, square = (sums, squares) if not count else (total + sums, square + squares)
        count += batch.shape[0] * batch.shape[2] * batch.shape[3]
        spread = values.flatten(2).std(2, correction=0).amax(1)
        blank.append(rows[spread < BLANK])
        equal = equal and batch.shape[1] == 3 and bool((batch == batch[:, :1]).all())
    mean = total / max(count, 1)
    std = (square / max(count, 1) - mean.square()).clamp_min(0).sqrt()
    constant = (std < 1e-9).nonzero()[:, 0].tolist() if count else []
    return Channels(
        (mean / 255).tolist(), (std / 255).tolist(), constant, torch.cat(blank), equal and count > 0
    )
