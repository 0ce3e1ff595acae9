"""Several labels an image, or none."""

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


class Labels(Seen):
    """`said` `(n, K)` probabilities, `targets` `(n, K)` of 0 and 1."""

    classes: list[str]

    @property
    def hits(self) -> Tensor:
        """Which labels are given, bool `(n, K)`."""
        return self.said >= 0.5

    @cached_property
    def errors(self) -> Tensor:
        """Share of the labels of each image that are wrongly given or left out (Hamming loss)."""
        return (self.hits != (self.targets > 0.5)).double().mean(1)

    @property
    def losses(self) -> Tensor:
        """Mean binary cross entropy of each image."""
        return nn.functional.binary_cross_entropy(
            self.said.double(), self.targets.double(), reduction="none"
        ).mean(1)

    def metrics(self) -> list[dict[str, Any]]:
        n, truth = len(self), self.targets > 0.5
        whole = (self.hits == truth).all(1)
        both, either = (self.hits & truth).double(), self.hits.double() + truth.double()
        each = [
            measures.average_precision(self.said[:, k], truth[:, k])
            for k in range(len(self.classes))
        ]
        return [
            measures.row(
                "mean average precision", lambda w: torch.stack([s(w) for s in each]).nanmean(0), n
            ),
            measures.row(
                "F1 over all labels", lambda w: 2 * (w @ both).sum(1) / (w @ either).sum(1), n
            ),
            measures.row(
                "mean F1 of the labels",
                lambda w: (2 * (w @ both) / (w @ either).clamp_min(1e-12)).mean(1),
                n,
            ),
            measures.row("images with all labels right", measures.mean(whole), n),
        ]

    def per_label(self) -> list[dict[str, Any]]:
        """Rows {class, precision, recall, n}; None where there is nothing to divide by."""
        truth, rows = self.targets > 0.5, []
        for k, name in enumerate(self.classes):
            hit, n, said = (
                int((self.hits & truth)[:, k].sum()),
                int(truth[:, k].sum()),
                int(self.hits[:, k].sum()),
            )
            rows.append(
                {
                    "class": name,
                    "precision": hit / said if said else None,
                    "recall": hit / n if n else None,
                    "n": n,
                }
            )
        return rows


@tasks.member
class MultiLabel(Task):
    """A logistic loss a label; error: share of labels wrongly given or left out."""

    losses = ("logistic",)
    mirror = True
    noun, axis = "label error", "share of labels wrongly given or left out"

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        return loss(outputs, targets.to(outputs.dtype))

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.sigmoid().cpu()

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Labels:
        seen = Labels(said, targets, names, loss)
        seen.classes = self.names
        return seen

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        return [self._row(shares, top) for shares in outputs.sigmoid()]

    def _row(self, shares: Tensor, top: int) -> dict[str, Any]:
        best = shares.topk(min(top, len(self.names)))
        named = [
            {"class": self.names[k], "probability": float(shares[k])} for k in best.indices.tolist()
        ]
        return {"labels": self._words(shares >= 0.5), "top": named}

    def _words(self, given: Tensor) -> list[str]:
        return [self.names[k] for k in given.nonzero()[:, 0].tolist()]

    def lines(self, seen: Labels, images: Any, model: nn.Module) -> list[Line]:
        worst = seen.losses.argsort(descending=True)[:WORST].tolist()
        items = [
            {
                "name": seen.names[i], "png": thumbnail(images.batch(torch.tensor([i]))[0]),
                "true": ", ".join(self._words(seen.targets[i] > 0.5)) or "none",
                "said": ", ".join(self._words(seen.hits[i])) or "none",
            }
            for i in worst
        ]  # fmt: skip
        return [
            ("per-class", {"rows": seen.per_label()}),
            ("cases", {"title": "Worst answers", "items": items}),
        ]

    def labels(self, targets: Tensor) -> list[str]:
        return [", ".join(self._words(row > 0.5)) or "none" for row in targets]

    def goal(self, targets: Tensor) -> Tensor:
        return targets * 8 - 4
