"""The loss of a recipe over class numbers, whatever kind of targets the loss itself takes."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from visus.errors import RecipeError
from visus.training.members import family


class OneHot(nn.Module):
    """A loss between outputs and targets of one shape, given class numbers `(N,)` or `(N, K)`."""

    def __init__(self, loss: nn.Module):
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 1:
            targets = nn.functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
        return self.loss(outputs, targets)


def make_criterion(name: str, options: dict[str, Any]) -> nn.Module:
    """The loss `name`, over class numbers or probabilities; found out by trying, not by name.

    A loss that refuses class numbers is given them as 0 and 1. Raises `RecipeError` for a loss
    of another task, such as one of pairs.
    """
    loss = family("loss").make(name, **options)
    for criterion in (loss, OneHot(loss)):
        if _works(criterion):
            return criterion
    raise RecipeError(
        f"recipe: loss '{name}' cannot compare outputs with classes; try cross-entropy"
    )


def _works(criterion: nn.Module) -> bool:
    # Four images, three classes: class numbers can be mistaken for nothing else.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it refuses
            found = criterion(torch.zeros(4, 3), torch.tensor([0, 1, 2, 1]))
    except (RuntimeError, TypeError, ValueError, RecipeError):
        return False
    return isinstance(found, Tensor) and found.ndim == 0 and found.is_floating_point()
