"""What an epoch was worth: train and validation error, and whether it is the best so far."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from visus.training.evaluate import evaluate
from visus.training.seeds import mix

SAMPLE = 2500  # training images that are judged, at most: a standard error of 1 % at worst
_SAMPLE = -2  # the "step" from which the sample draws


class Judge:
    """Evaluates on validation and on a fixed, un-jittered sample of train, at most as large.

    Both in eval mode, so that the two errors can be compared. Without validation images there
    is no best epoch but the last.
    """

    def __init__(self, dataset: Any, criterion: nn.Module, seed: int, batch_size: int):
        self.train, self.validation = dataset.train, dataset.validation
        self.criterion, self.batch_size = criterion, batch_size
        count = min(len(self.train), len(self.validation) or 1000, SAMPLE)
        draw = torch.Generator().manual_seed(mix(seed, _SAMPLE))
        self.sample = torch.randperm(len(self.train), generator=draw)[:count].sort().values
        self.images = count + len(self.validation)
        self.seconds = 0.0  # of the last evaluation, or its estimate

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """train_loss, train_error, validation_loss and validation_error (None without images)."""
        start = time.monotonic()
        train = self._evaluate(model, self.train, self.sample)
        found: dict[str, float | None] = {"train_loss": train.loss, "train_error": train.error}
        found |= {"validation_loss": None, "validation_error": None}
        if len(self.validation):
            held = self._evaluate(model, self.validation)
            found |= {"validation_loss": held.loss, "validation_error": held.error}
        self.seconds = time.monotonic() - start
        return found

    def _evaluate(self, model: nn.Module, images: Any, indices: Any = None) -> Any:
        return evaluate(
            model, images, indices=indices, batch_size=self.batch_size, criterion=self.criterion
        )

    def estimate(self, model: nn.Module) -> None:
        """Set `seconds`, what a whole evaluation takes, from a few images."""
        few = self.sample[: self.batch_size]
        start = time.monotonic()
        self._evaluate(model, self.train, few)
        self.seconds = (time.monotonic() - start) * self.images / len(few)


def better(found: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Fewer validation errors than the best epoch; of equal ones the one with less loss."""
    if best is None or found["validation_error"] is None:
        return True
    keys = ("validation_error", "validation_loss")
    return tuple(found[k] for k in keys) < tuple(best[k] for k in keys)
