"""One of two: a single output, and a threshold chosen on validation."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from visus.data import thumbnail
from visus.training import measures
from visus.training.evaluate import wilson
from visus.training.tasks import Line, Task, tasks
from visus.training.tasks.seen import Seen

BINS, POINTS, WORST = 10, 200, 24


class Two(Seen):
    """`said` `(n,)`: probability of the second class; `targets` 0 or 1."""

    threshold: float = 0.5
    classes: list[str]

    @property
    def probabilities(self) -> Tensor:
        """`(n, 2)`, as of a classification."""
        return torch.stack([1 - self.said, self.said], 1)

    @property
    def predicted(self) -> Tensor:
        """Class numbers `(n,)` at the threshold."""
        return (self.said >= self.threshold).long()

    @property
    def wrong(self) -> Tensor:
        """Which answers are wrong, bool `(n,)`."""
        return self.predicted != self.targets

    @cached_property
    def errors(self) -> Tensor:
        return self.wrong.double()

    @property
    def losses(self) -> Tensor:
        """Negative log likelihood of each answer."""
        right = torch.where(self.targets == 1, self.said, 1 - self.said).double()
        return -right.nan_to_num(0.0).clamp_min(1e-12).log()

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(int(self.wrong.sum()), len(self))

    def metrics(self) -> list[dict[str, Any]]:
        n, truth = len(self), self.targets == 1
        brier = (self.said - truth.double()) ** 2
        hit, kept = self.predicted == 1, self.predicted == 0
        return [
            measures.row("area under the ROC curve", measures.auc(self.said, truth), n),
            measures.row(f"sensitivity (of {self.classes[1]})", _share(truth & hit, truth), n),
            measures.row(f"specificity (of {self.classes[0]})", _share(~truth & kept, ~truth), n),
            measures.row("Brier score", measures.mean(brier), n, "low", "plain"),
            measures.row("calibration error", self._miscalibrated(), n, "low"),
        ]

    def _miscalibrated(self) -> measures.Statistic:
        """`sum_b n_b / n |share of the second class - mean probability|` over ten bins (ECE)."""
        place = nn.functional.one_hot((self.said * BINS).long().clamp(0, BINS - 1), BINS).double()
        gap = ((self.targets == 1).double() - self.said.double())[:, None] * place
        return lambda w: (w @ gap).abs().sum(1) / w.sum(1)

    def calibration(self) -> list[dict[str, Any]]:
        """Rows {probability, share, interval, n} of the bins that hold answers."""
        place, rows = (self.said * BINS).long().clamp(0, BINS - 1), []
        for k in range(BINS):
            inside = place == k
            n, hits = int(inside.sum()), int((self.targets[inside] == 1).sum())
            if n:
                low_high = list(wilson(hits, n))
                rows.append(
                    {
                        "probability": float(self.said[inside].mean()),
                        "share": hits / n,
                        "interval": low_high,
                        "n": n,
                    }
                )
        return rows

    def roc(self) -> dict[str, Any]:
        """The curve: false and true positive rates by falling threshold, and the working point."""
        order = self.said.argsort(descending=True, stable=True)
        truth = (self.targets[order] == 1).double()
        last = torch.cat([self.said[order].diff() != 0, torch.ones(1, dtype=torch.bool)])
        ups, downs = truth.cumsum(0)[last], (1 - truth).cumsum(0)[last]
        few = torch.linspace(0, len(ups) - 1, min(len(ups), POINTS)).long()
        rate = lambda x: [0.0, *(x[few] / x[-1].clamp_min(1)).tolist()]  # noqa: E731
        hit = (self.predicted == 1).double()
        at = [
            float((hit * part).sum() / part.sum().clamp_min(1))
            for part in ((self.targets == 0).double(), (self.targets == 1).double())
        ]
        return {"false": rate(downs), "true": rate(ups), "at": at, "threshold": self.threshold}


def _share(part: Tensor, of: Tensor) -> measures.Statistic:
    a, b = part.double(), of.double()
    return lambda w: (w @ a) / (w @ b)


@tasks.member
class Dichotomy(Task):
    """Logistic loss of one output; error: share misjudged at a threshold chosen on validation."""

    losses = ("logistic",)
    mirror, chooses = True, True
    axis = "share of images misjudged"

    @property
    def outputs(self) -> int:
        return 1

    @property
    def threshold(self) -> float:
        """Probability from which the second class is named."""
        return float(self.facts.get("threshold", 0.5))

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 2:  # shares of both classes: blended images
            targets = targets[:, 1]
        return loss(outputs[:, 0], targets.to(outputs.dtype))

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, 0].sigmoid().cpu()

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Two:
        seen = Two(said, targets, names, loss)
        seen.threshold = self.threshold
        seen.classes = self.names
        return seen

    def settle(self, seen: Two) -> None:
        """The threshold with fewest errors; of equal ones the nearest to 1/2."""
        values = seen.said.double().unique()
        middles = torch.cat(
            [torch.tensor([0.5], dtype=torch.float64), (values[1:] + values[:-1]) / 2]
        )
        wrong = ((seen.said.double()[:, None] >= middles) != (seen.targets == 1)[:, None]).sum(0)
        best = (wrong + (middles - 0.5).abs() * 0.5).argmin()
        self.facts["threshold"] = float(middles[best])

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        return [self._row(p) for p in outputs[:, 0].sigmoid().tolist()]

    def _row(self, p: float) -> dict[str, Any]:
        shares = sorted(zip((1 - p, p), self.names, strict=True), reverse=True)
        return {
            "class": self.names[p >= self.threshold], "probability": p, "of": self.names[1],
            "threshold": self.threshold,
            "top": [{"class": name, "probability": share} for share, name in shares],
        }  # fmt: skip

    def lines(self, seen: Two, images: Any, model: nn.Module) -> list[Line]:
        matrix = torch.bincount(seen.targets * 2 + seen.predicted, minlength=4).view(2, 2)
        sure = (seen.said - self.threshold).abs().masked_fill(~seen.wrong, -1.0)
        worst = sure.argsort(descending=True, stable=True)[: min(WORST, int(seen.wrong.sum()))]
        items = [
            {
                "name": seen.names[i], "png": thumbnail(images.batch(torch.tensor([i]))[0]),
                "label": self.names[int(seen.targets[i])], "predicted": self.names[int(seen.predicted[i])],
                "probability": float(seen.probabilities[i, int(seen.predicted[i])]),
            }
            for i in worst.tolist()
        ]  # fmt: skip
        return [
            ("roc", {"positive": self.names[1], **(seen.roc() if len(seen) else {})}),
            ("calibration", {"positive": self.names[1], "rows": seen.calibration()}),
            ("confusion", {"classes": self.names, "matrix": matrix.tolist()}),
            ("mistakes", {"items": items}),
        ]

    def labels(self, targets: Tensor) -> list[str]:
        return [self.names[k] for k in targets.tolist()]

    def goal(self, targets: Tensor) -> Tensor:
        return targets[:, None].float() * 8 - 4
