"""What an epoch was worth: train and validation error, and whether it is the best so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from visus.training.evaluate import evaluate
from visus.training.seeds import mix

SAMPLE = 2500  # training images that are judged, at most: a standard error of 1 % at worst
FEW, LEAST = 64, 100  # images that an estimate sees; that are judged however short the time
_SAMPLE = -2  # the "step" from which the sample draws


class Judge:
    """Evaluates on validation and on a fixed, un-jittered sample of train, at most as large.

    Both in eval mode, so that the two errors can be compared. Without validation images there
    is no best epoch but the last. What is `left_out` of training by name is not judged as training.
    """

    def __init__(
        self, dataset: Any, criterion: nn.Module, seed: int, batch_size: int, left_out: Sequence[str] = ()
    ):  # fmt: skip
        self.train, self.validation = dataset.train, dataset.validation
        self.criterion, self.batch_size = criterion, batch_size
        count, apart = min(len(self.train), len(self.validation) or 1000, SAMPLE), set(left_out)
        draw = torch.Generator().manual_seed(mix(seed, _SAMPLE))
        rows = torch.randperm(len(self.train), generator=draw)[:count].sort().values
        names = self.train.names if apart else []
        own = [n for n in rows.tolist() if names[n] not in apart] if apart else []
        self.sample = torch.tensor(own) if own else rows
        self.held = torch.arange(len(self.validation))
        self.seconds = 0.0  # of the last evaluation, or its estimate

    @property
    def images(self) -> int:
        """Images of an evaluation."""
        return len(self.sample) + len(self.held)

    @property
    def each(self) -> float:
        """Seconds that an image takes."""
        return self.seconds / max(1, self.images)

    @property
    def sizes(self) -> list[int]:
        """How many images of train and of validation are judged."""
        return [len(self.sample), len(self.held)]

    def take(self, sizes: list[int]) -> None:
        """Judge so many images of train and of validation alone, in an even stride."""
        self.sample, self.held = (
            rows[torch.linspace(0, len(rows) - 1, n).long()] if n < len(rows) else rows
            for rows, n in zip((self.sample, self.held), sizes, strict=True)
        )

    def fit(self, seconds: float) -> None:
        """Judge as many images as take so long, of train first fewer; at least `LEAST` of each."""
        if self.seconds <= seconds:
            return
        most, each = int(seconds / self.each), self.each
        train = max(LEAST, min(len(self.sample), most // 3))
        self.take([train, max(LEAST, most - train)])
        self.seconds = each * self.images

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """train_loss, train_error, validation_loss and validation_error (None without images)."""
        start = time.monotonic()
        train = self._evaluate(model, self.train, self.sample)
        found: dict[str, float | None] = {"train_loss": train.loss, "train_error": train.error}
        found |= {"validation_loss": None, "validation_error": None}
        if len(self.validation):
            held = self._evaluate(model, self.validation, self.held)
            found |= {"validation_loss": held.loss, "validation_error": held.error}
        self.seconds = time.monotonic() - start
        return found

    def _evaluate(self, model: nn.Module, images: Any, indices: Any = None) -> Any:
        return evaluate(
            model, images, indices=indices, batch_size=self.batch_size, criterion=self.criterion
        )

    def estimate(self, model: nn.Module) -> None:
        """Set `seconds`, what a whole evaluation takes, from a few images."""
        few = self.sample[:FEW]
        start = time.monotonic()
        self._evaluate(model, self.train, few)
        self.seconds = (time.monotonic() - start) * self.images / len(few)


def better(found: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Fewer validation errors than the best epoch; of equal ones the one with less loss."""
    if best is None or found["validation_error"] is None:
        return True
    keys = ("validation_error", "validation_loss")
    return tuple(found[k] for k in keys) < tuple(best[k] for k in keys)
