"""Soft labels: a share for each class, as several people judged it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from visus.data import thumbnail
from visus.training import measures
from visus.training.tasks import Line, Task, tasks
from visus.training.tasks.seen import Seen

WORST = 24


class Shares(Seen):
    """`said` and `targets` `(n, K)`, rows that sum to 1."""

    @cached_property
    def errors(self) -> Tensor:
        """Total variation, `sum_k |y_k - p_k| / 2`: the share that lies with the wrong classes."""
        return (self.said - self.targets).double().abs().sum(1) / 2

    @property
    def losses(self) -> Tensor:
        """Kullback-Leibler divergence of each answer from its target."""
        p, q = self.targets.double(), self.said.double().clamp_min(1e-12)
        return (torch.xlogy(p, p) - p * q.log()).sum(1)

    def metrics(self) -> list[dict[str, Any]]:
        n, same = len(self), self.said.argmax(1) == self.targets.argmax(1)
        return [
            measures.row(
                "Kullback-Leibler divergence", measures.mean(self.losses), n, "low", "plain"
            ),
            measures.row("same first choice", measures.mean(same), n),
        ]


@tasks.member
class Distribution(Task):
    """KL divergence from the soft labels; error: total variation, the share misplaced."""

    losses = ("kl",)
    mirror = True
    noun, axis = "share misplaced", "share that lies with the wrong classes (total variation)"

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        return loss(outputs, targets.to(outputs.dtype))

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.softmax(1).cpu()

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Shares:
        return Shares(said, targets, names, loss)

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        return [self._row(shares) for shares in outputs.softmax(1)]

    def _row(self, shares: Tensor) -> dict[str, Any]:
        order = shares.argsort(descending=True).tolist()
        return {"shares": {self.names[k]: float(shares[k]) for k in order}}

    def lines(self, seen: Shares, images: Any, model: nn.Module) -> list[Line]:
        worst = seen.errors.argsort(descending=True)[:WORST].tolist()
        items = [
            {
                "name": seen.names[i], "png": thumbnail(images.batch(torch.tensor([i]))[0]),
                "true": self._words(seen.targets[i]), "said": self._words(seen.said[i]),
            }
            for i in worst
        ]  # fmt: skip
        mean = [
            {
                "class": name,
                "true": float(seen.targets[:, k].mean()),
                "said": float(seen.said[:, k].mean()),
            }
            for k, name in enumerate(self.names)
        ]
        return [("shares", {"rows": mean}), ("cases", {"title": "Worst answers", "items": items})]

    def _words(self, shares: Tensor) -> str:
        best = shares.topk(min(2, len(self.names)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return ", ".join(f"{self.names[k]} {value:.0%}" for k, value in pairs)

    def labels(self, targets: Tensor) -> list[str]:
        return [self._words(row) for row in targets]

    def goal(self, targets: Tensor) -> Tensor:
        return targets.clamp_min(0.01).log()
