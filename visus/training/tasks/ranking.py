"""An order: which of two images ranks above the other."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from visus.data import thumbnail
from visus.training import measures
from visus.training.tasks import Line, Task, tasks
from visus.training.tasks.seen import Seen

SHOWN = 24


class Order(Seen):
    """`said` `(n,)` scores. `targets` `(n, 1)` true scores, or `(2 m, 2)` rows of pairs."""

    @property
    def pairs(self) -> bool:
        """Whether the truth is pairs and no scores."""
        return self.targets.shape[1] == 2

    @cached_property
    def some(self) -> Tensor:
        """Images that are compared each with each: all, or a fixed sample of them."""
        n = len(self)
        if n <= measures.MOST:
            return torch.arange(n)
        return (
            torch.randperm(n, generator=torch.Generator().manual_seed(n))[: measures.MOST]
            .sort()
            .values
        )

    @cached_property
    def errors(self) -> Tensor:
        """By pair: 1 where it is in the wrong order, ties half; by image: its share of such pairs."""
        if self.pairs:
            ahead = (self.said[0::2] - self.said[1::2]).sign().double()
            return (1 - ahead) / 2
        truth, own = self.targets[self.some, 0], self.said[self.some]
        ahead = (self.said.double()[:, None] - own.double()).sign()
        asked = (self.targets[:, :1].double() - truth.double()).sign()
        wrong = ((1 - ahead * asked) / 2 * asked.abs()).sum(1)
        return wrong / asked.abs().sum(1).clamp_min(1)

    def _misordered(self) -> measures.Statistic:
        return measures.misordered(self.said[self.some], self.targets[self.some, 0])

    @property
    def error(self) -> float:
        """Share of pairs in the wrong order."""
        if self.pairs or not len(self):
            return super().error
        return measures.number(self._misordered(), len(self.some))

    @property
    def interval(self) -> tuple[float, float]:
        if self.pairs or len(self) < 2:
            return super().interval
        return measures.interval(self._misordered(), len(self.some), 200)

    def metrics(self) -> list[dict[str, Any]]:
        if self.pairs:
            return [measures.row("pair accuracy", measures.mean(1 - self.errors), len(self))]
        said, truth, n = self.said[self.some], self.targets[self.some, 0], len(self.some)
        right = self._misordered()
        return [
            measures.row("Kendall's tau", measures.kendall(said, truth), n, "high", "plain"),
            measures.row("pair accuracy", lambda w: 1 - right(w), n),
        ]


@tasks.member
class Ranking(Task):
    """Margin ranking over the pairs of a batch; error: share of pairs in the wrong order.

    From scores every two images of a batch that differ are a pair; from a manifest better,worse
    those it lists. `sum max(0, margin - (s_a - s_b)) / pairs`, a above b (Joachims 2002).
    """

    losses = ("margin-ranking",)
    loss_options = {"margin": 1.0}  # noqa: RUF012
    output = "scores"
    noun, axis = "pairs misordered", "share of pairs in the wrong order"

    @property
    def outputs(self) -> int:
        return 1

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        truth = targets[:, -1]
        above = truth[:, None] > truth
        if targets.shape[1] == 2:
            above &= targets[:, :1] == targets[:, 0]
        a, b = above.nonzero(as_tuple=True)
        if not len(a):
            return outputs.sum() * 0.0
        scores = outputs[:, 0]
        return loss(scores[a], scores[b], torch.ones_like(scores[a]))

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, 0].cpu()

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Order:
        return Order(said, targets, names, loss)

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        return [{"score": score} for score in outputs[:, 0].tolist()]

    def lines(self, seen: Order, images: Any, model: nn.Module) -> list[Line]:
        if seen.pairs:
            worst = (seen.said[0::2] - seen.said[1::2]).argsort()[: SHOWN // 2].tolist()
            items = [item for i in worst for item in self._pair(seen, images, i)]
            return [("cases", {"title": "Pairs most in the wrong order", "items": items})]
        order = seen.said.argsort(descending=True).tolist()
        few = (
            [order[int(k)] for k in torch.linspace(0, len(order) - 1, min(SHOWN, len(order)))]
            if order
            else []
        )
        items = [
            {
                "name": seen.names[i], "png": thumbnail(images.batch(torch.tensor([i]))[0]),
                "said": f"score {float(seen.said[i]):.3g}", "true": f"{float(seen.targets[i, 0]):.4g}",
            }
            for i in few
        ]  # fmt: skip
        plot = {"name": "rank", "said": _ranks(seen.said), "true": _ranks(seen.targets[:, 0])}
        return [
            ("scatter", {"plots": [plot]}),
            ("cases", {"title": "From the highest score to the lowest", "items": items}),
        ]

    def _pair(self, seen: Order, images: Any, i: int) -> list[dict[str, Any]]:
        both = images.batch(torch.tensor([i]))
        return [
            {
                "name": seen.names[i], "png": thumbnail(both[k]), "true": ("better", "worse")[k],
                "said": f"score {float(seen.said[2 * i + k]):.3g}",
            }
            for k in (0, 1)
        ]  # fmt: skip

    def labels(self, targets: Tensor) -> list[str]:
        if targets.shape[1] == 2:
            return ["better" if v else "worse" for v in targets[:, 1].tolist()]
        return [f"{v:.4g}" for v in targets[:, 0].tolist()]

    def goal(self, targets: Tensor) -> Tensor | None:
        return (
            None
            if targets.shape[1] == 2
            else (targets - targets.mean(0)) / targets.std(0).clamp_min(1e-9)
        )


def _ranks(values: Tensor) -> list[float]:
    """Ranks as shares of the whole, lowest 0, at most 2,000 of them."""
    ranks = values.argsort(stable=True).argsort(stable=True).double() / max(1, len(values) - 1)
    return ranks[:: max(1, len(values) // 2000)].tolist()
