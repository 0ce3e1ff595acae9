"""What every evaluation beyond one class shares: errors by sample, their mean, its interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any

from torch import Tensor

from visus.training import measures


@dataclass(eq=False)
class Seen:
    """`said` is what was gathered of the answers to `n` images, `loss` the mean of the criterion.

    `errors` `(n,)` are by sample, lower is better, for paired comparison; `error` is their mean.
    """

    said: Tensor
    targets: Tensor
    names: list[str]
    loss: float

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def errors(self) -> Tensor:
        """The error of each sample, `(n,)`."""
        raise NotImplementedError

    @property
    def losses(self) -> Tensor:
        """A finer number for each sample, to tell equal errors apart."""
        return self.errors

    @property
    def error(self) -> float:
        """The quantity to minimize; nan without samples."""
        return float(self.errors.double().mean()) if len(self) else nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the error."""
        return measures.interval(measures.mean(self.errors), len(self))

    def metrics(self) -> list[dict[str, Any]]:
        """Further measures: rows {name, value, interval, better, unit}."""
        return []
