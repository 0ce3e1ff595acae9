"""One class of several: the image belongs to exactly one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visus.data import thumbnail
from visus.training.criterion import make_criterion
from visus.training.evaluate import Evaluation
from visus.training.tasks import Line, Task, tasks

MISTAKES = 24  # worst mistakes shown in the report


@tasks.member
class Classification(Task):
    """Softmax over classes, cross entropy; error: share of images misjudged (Wilson interval)."""

    mirror = True
    axis = "share of images misjudged"

    def criterion(self, name: str, options: dict[str, Any]) -> nn.Module:
        return make_criterion(name, options)

    def standard(self, recipe: Any = None) -> nn.Module:
        return nn.CrossEntropyLoss()

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.softmax(1).cpu()

    def mirrored(self, outputs: Tensor, flipped: Tensor) -> Tensor:
        return ((outputs.softmax(1) + flipped.softmax(1)) / 2).clamp_min(1e-12).log()

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Evaluation:
        return Evaluation(said, targets, names, loss)

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        best = outputs.softmax(1).topk(min(top, len(self.names)))
        return [
            {"top": self._named(k, p)}
            for k, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _named(self, numbers: list[int], shares: list[float]) -> list[dict[str, Any]]:
        pairs = zip(numbers, shares, strict=True)
        return [{"class": self.names[k], "probability": value} for k, value in pairs]

    def lines(self, seen: Evaluation, images: Any, model: nn.Module) -> list[Line]:
        return [
            ("confusion", {"classes": self.names, "matrix": seen.confusion()}),
            ("per-class", {"rows": seen.per_class(self.names)}),
            (
                "mistakes",
                {"items": [self._mistake(row, images) for row in seen.mistakes(MISTAKES)]},
            ),
        ]

    def _mistake(self, row: dict[str, Any], images: Any) -> dict[str, Any]:
        return {
            "name": row["name"],
            "png": thumbnail(images.batch(torch.tensor([row["index"]]))[0]),
            "label": self.names[row["label"]],
            "predicted": self.names[row["predicted"]],
            "probability": row["probability"],
        }

    def labels(self, targets: Tensor) -> list[str]:
        return [self.names[k] for k in targets.tolist()]

    def goal(self, targets: Tensor) -> Tensor:
        return nn.functional.one_hot(targets, len(self.names)).float()
