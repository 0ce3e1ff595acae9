"""How good a model is on a set of images, with the interval that the number of images allows."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Evaluation:
    """What a model said about `n` images.

    `probabilities` `(n, K)` float32 and `targets` `(n,)` int64 on the CPU, `names` of the images,
    `loss` the mean of the criterion, `error` the share of wrong answers.
    """

    probabilities: Tensor
    targets: Tensor
    names: list[str]
    loss: float

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def predicted(self) -> Tensor:
        """The most probable class of each image, `(n,)`."""
        return self.probabilities.argmax(1)

    @property
    def wrong(self) -> Tensor:
        """Which answers are wrong, `(n,)` bool."""
        return self.predicted != self.targets

    @property
    def error(self) -> float:
        """Share of wrong answers; nan without images."""
        return float(self.wrong.double().mean()) if len(self) else nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the error."""
        return wilson(int(self.wrong.sum()), len(self))

    @property
    def errors(self) -> Tensor:
        """The error of each image, `(n,)`: 1 or 0."""
        return self.wrong.double()

    @property
    def losses(self) -> Tensor:
        """Negative log likelihood of each image's class, whatever was trained with."""
        right = self.probabilities.double().gather(1, self.targets[:, None])[:, 0]
        return -right.nan_to_num(0.0).clamp_min(1e-12).log()

    def metrics(self) -> list[dict[str, Any]]:
        """No further measures: the confusion matrix has them all."""
        return []

    def confusion(self) -> list[list[int]]:
        """`[target][predicted]` -> number of images, `K` by `K`."""
        classes = self.probabilities.shape[1]
        cells = torch.bincount(self.targets * classes + self.predicted, minlength=classes**2)
        return cells.view(classes, classes).tolist()

    def per_class(self, classes: list[str]) -> list[dict[str, Any]]:
        """Rows {class, precision, recall, n}; None where there is nothing to divide by."""
        matrix = torch.tensor(self.confusion(), dtype=torch.float64)
        right, asked, said = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        return [
            {
                "class": name,
                "precision": float(right[k] / said[k]) if said[k] else None,
                "recall": float(right[k] / asked[k]) if asked[k] else None,
                "n": int(asked[k]),
            }
            for k, name in enumerate(classes)
        ]

    def mistakes(self, k: int = 20) -> list[dict[str, Any]]:
        """The `k` wrong answers given with the most confidence, worst first.

        Rows {index, name, label, predicted, probability}; label and predicted as numbers.
        """
        sure = self.probabilities.max(1).values.masked_fill(~self.wrong, -1.0)
        worst = sure.argsort(descending=True, stable=True)[: min(k, int(self.wrong.sum()))]
        return [
            {
                "index": i,
                "name": self.names[i],
                "label": int(self.targets[i]),
                "predicted": int(self.predicted[i]),
                "probability": float(sure[i]),
            }
            for i in worst.tolist()
        ]


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Any, *, indices: Tensor | None = None, batch_size: int = 256,
    flip: bool = False, criterion: nn.Module | None = None,
) -> Any:  # fmt: skip
    """Run `model`, in eval mode and float32, over an ImageSet (or its `indices`).

    `model` takes float images `(N, C, H, W)` in [0, 1] and gives logits `(N, K)`, as
    `load_trained(...)` and `Session.model` do. `flip` averages the probabilities of each image
    and its mirror image. `criterion` (of logits and targets) defaults to the
    recipe's loss, of a classification to cross entropy. The
    model's modes, gradients and torch's generators stay as they were.

    A model that carries a `task` is read as that task does: an evaluation with `errors` by
    sample, `error`, `interval`, `loss` and `metrics()`; without one as a classification.
    """
    task: Any = getattr(model, "task", None) or _classification()
    modes = {module: module.training for module in model.modules()}
    chosen = torch.arange(len(images)) if indices is None else indices
    measured: Any = criterion or task.standard(getattr(model, "recipe", None))
    parts, total = [], 0.0
    try:
        model.eval()
        for part in chosen.split(batch_size):
            outputs = _answers(model, images.batch(part), flip, task)
            targets = images.targets[part].to(outputs.device)
            total += float(measured(outputs, targets)) * len(part) if len(part) else 0.0
            parts.append(task.gather(outputs, targets))
    finally:
        for module, training in modes.items():
            module.training = training
    said = torch.cat(parts) if parts else torch.empty(0, 1)
    names = [images.names[i] for i in chosen.tolist()]
    loss = total / len(chosen) if len(chosen) else nan
    return task.read(said, images.targets[chosen], names, loss)


def _classification() -> Any:
    from visus.training.tasks import tasks

    return tasks.make("classification", [])


def _answers(model: nn.Module, pixels: Tensor, flip: bool, task: Any) -> Tensor:
    """Outputs for uint8 images; with `flip` those of an image and its mirror image together."""
    weight = next(model.parameters(), pixels)
    dense = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if dense else torch.contiguous_format
    x = pixels.to(weight.device).to(torch.float32, memory_format=layout).div_(255)
    outputs = model(x).float()
    return task.mirrored(outputs, model(x.flip(3)).float()) if flip else outputs


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a share, k of n, at 95 % (Wilson 1927): honest for few images and for k = 0."""
    if n == 0:
        return 0.0, 1.0
    p, zz = k / n, z * z / n
    center, half = p + zz / 2, z * sqrt(p * (1 - p) / n + zz / (4 * n))
    # At k = 0 and k = n one end is the share itself: rounding must not push it past.
    return max(0.0, min(p, (center - half) / (1 + zz))), min(
        1.0, max(p, (center + half) / (1 + zz))
    )
