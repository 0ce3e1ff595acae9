"""Numbers: one or several an image."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from visus.data import thumbnail
from visus.training import measures
from visus.training.tasks import Line, Task, tasks
from visus.training.tasks.seen import Seen

POINTS, WORST = 2000, 24


class Numbers(Seen):
    """`said` and `targets` `(n, T)` in the units of the data; errors in variances of train."""

    std: Tensor
    columns: list[str]

    @cached_property
    def errors(self) -> Tensor:
        """Squared distance in units of the variance of train, mean over the targets."""
        return (((self.said - self.targets) / self.std).double() ** 2).mean(1)

    def metrics(self) -> list[dict[str, Any]]:
        rows = []
        for k, name in enumerate(self.columns):
            said, truth = self.said[:, k], self.targets[:, k]
            of, n = ("" if len(self.columns) == 1 else f" of {name}"), len(self)
            rows.append(measures.row(f"R²{of}", measures.r_squared(said, truth), n))
            away = (said - truth).abs()
            rows.append(
                measures.row(f"mean absolute error{of}", measures.mean(away), n, "low", "plain")
            )
            squares = measures.mean(away.double() ** 2)
            rows.append(
                measures.row(f"root mean square error{of}", _root(squares), n, "low", "plain")
            )
        return rows


def _root(statistic: measures.Statistic) -> measures.Statistic:
    return lambda w: statistic(w).sqrt()


@tasks.member
class Regression(Task):
    """Targets standardized by train, L2 unless asked; error: share of the variance left unexplained.

    error = mean over samples and targets of ((y - t) / std of train)^2: 1 for the mean of train,
    0 for exact. Predictions are in the units of the data.
    """

    losses = ("l2", "l1", "smooth-l1")
    output = "values"
    rate = 0.25  # the curvature of (y - t)^2 is 2, that of cross entropy 1/2 at most
    noun, axis = "unexplained variance", "share of the variance left unexplained"

    def fit(self, dataset: Any) -> None:
        targets = dataset.train.targets.double()
        std = targets.std(0, unbiased=False)
        std = torch.where(std > 1e-12, std, 1.0)
        self.facts |= {"mean": targets.mean(0).tolist(), "std": std.tolist()}

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.facts["mean"]), like.new_tensor(self.facts["std"])

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        mean, std = self._scale(outputs)
        return loss(outputs, (targets.to(outputs) - mean) / std)

    def answer(self, outputs: Tensor) -> Tensor:
        mean, std = self._scale(outputs)
        return outputs * std + mean

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Numbers:
        seen = Numbers(said, targets, names, loss)
        seen.std = torch.tensor(self.facts["std"])
        seen.columns = self.names
        return seen

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        said = self.answer(outputs).tolist()
        return [{"values": dict(zip(self.names, row, strict=True))} for row in said]

    def lines(self, seen: Numbers, images: Any, model: nn.Module) -> list[Line]:
        few = torch.linspace(0, len(seen) - 1, min(len(seen), POINTS)).long() if len(seen) else []
        plots = [
            {
                "name": name,
                "true": seen.targets[few, k].tolist(),
                "said": seen.said[few, k].tolist(),
            }
            for k, name in enumerate(self.names)
        ]
        worst = seen.errors.argsort(descending=True)[:WORST].tolist()
        items = [
            {
                "name": seen.names[i], "png": thumbnail(images.batch(torch.tensor([i]))[0]),
                "true": self._row(seen.targets[i]), "said": self._row(seen.said[i]),
            }
            for i in worst
        ]  # fmt: skip
        return [
            ("scatter", {"plots": plots}),
            ("cases", {"title": "Worst predictions", "items": items}),
        ]

    def _row(self, values: Tensor) -> str:
        told = [f"{v:.4g}" for v in values.tolist()]
        if len(told) == 1:
            return told[0]
        return ", ".join(f"{name} {v}" for name, v in zip(self.names, told, strict=True))

    def labels(self, targets: Tensor) -> list[str]:
        return [self._row(row) for row in targets]

    def goal(self, targets: Tensor) -> Tensor:
        mean, std = self._scale(targets)
        return (targets - mean) / std
