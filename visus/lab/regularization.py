"""Generalization gap by strength for L2, L1, dropout, jitter, and batch norm; sparsity of L1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, COLORS, ORANGE, band, percent

STRENGTHS = {
    "L2": (0.0, 0.003, 0.01, 0.03, 0.1), "L1": (0.0, 0.0003, 0.001, 0.003, 0.01),
    "dropout": (0.0, 0.2, 0.4, 0.6, 0.8), "jitter": (0.0, 0.3, 0.6, 1.0, 1.5), "batch norm": (0.0, 1.0),
}  # fmt: skip


class Penalized(nn.Module):
    """Cross entropy and `l1` times the sum of |w| of the model."""

    def __init__(self, model: nn.Module, l1: float):
        super().__init__()
        self.model, self.l1 = model, l1

    def forward(self, z, y):
        size = torch.stack([p.abs().sum() for p in self.model.parameters() if p.ndim > 1]).sum()
        return nn.functional.cross_entropy(z, y) + self.l1 * size


@experiments.member
class Regularization(Experiment):
    topic = "regularization"
    claim = "L2, L1, dropout, jitter and batch norm narrow the gap between training and validation loss; L1 makes weights vanish."
    source = "Goodfellow, Bengio & Courville 2016, chapter 7; Srivastava et al. 2014"
    seeds = 12
    quick = Settings(steps=250, width=64, train=200, data="digits")
    full = Settings(steps=5000, width=512, train=5000, data="cifar10")
    tiny = Settings(steps=3, width=8, train=50)
    inches = (10, 3.3)

    def measure(self, seed, *, steps, width, train, data):
        held = images(seed, train, data=data)
        found: dict[str, Any] = {"data": held.source, "gap": {}, "error": {}, "weights": {}}
        for way, strengths in STRENGTHS.items():
            rows = [self._one(way, s, seed, held, steps, width) for s in strengths]
            found["gap"][way], found["error"][way], weights = map(list, zip(*rows, strict=True))
            found["weights"][way] = weights[-2]
        return found

    def _one(self, way, strength, seed, held, steps, width):
        model = mlp(held.x[0].numel(), width, 2, bn=way == "batch norm" and strength > 0)
        if way == "dropout":
            last = len(model) - 1  # behind every hidden layer, as in the source
            parts = [
                (m, nn.Dropout(strength)) if 0 < i < last and not isinstance(m, nn.Linear) else (m,)
                for i, m in enumerate(model)
            ]
            model = nn.Sequential(*(m for part in parts for m in part))
        start(model, seed)
        jitter = (lambda x: x + strength * torch.randn_like(x)) if way == "jitter" else None
        loss = Penalized(model, strength) if way == "L1" else nn.functional.cross_entropy
        fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed, jitter=jitter, loss=loss,
            decay=strength if way == "L2" else 0.0)  # fmt: skip
        (inside, _), (outside, error) = score(model, held.x, held.y), score(model, *held.validation)
        first = next(model.parameters()).detach().flatten()
        return outside - inside, error, first[:1000].tolist()

    def checks(self, runs):
        gaps = lambda way: [r["gap"][way] for r in runs]  # noqa: E731
        parts = [
            Check(f"{way}: gap at the strongest but one - gap without", [g[-2 if len(g) > 2 else -1] - g[0] for g in gaps(way)], "<", 0.0)
            for way in STRENGTHS
        ]  # fmt: skip
        zero = lambda way: [float(np.mean(np.abs(r["weights"][way]) < 1e-3)) for r in runs]  # noqa: E731
        more = np.subtract(zero("L1"), zero("L2")).tolist()
        return [
            *parts,
            Check("weights below 0.001: share with L1 - with L2", more, ">", 0.2, percent=True),
        ]

    def draw(self, figure, runs):
        gap, error, sparse = figure.subplots(1, 3)
        for (way, strengths), color in zip(STRENGTHS.items(), COLORS, strict=False):
            x = np.linspace(0, 1, len(strengths))
            band(gap, x, [r["gap"][way] for r in runs], color=color, marker="o", ms=3, label=way)
            band(error, x, [r["error"][way] for r in runs], color=color, marker="o", ms=3)
        gap.set(
            title="Validation - training loss",
            xlabel="strength (0: none, 1: strongest)",
            ylabel="gap (nats)",
        )
        gap.legend()
        error.set(title="Validation error", xlabel="strength")
        percent(error)
        for way, color in (("L2", BLUE), ("L1", ORANGE)):
            w = np.abs(np.concatenate([r["weights"][way] for r in runs])) + 1e-7
            sparse.hist(np.log10(w), np.linspace(-6, 0.5, 40), color=color, alpha=0.55, label=way)
        sparse.set(
            title="First layer: L1 drives weights to 0", xlabel="log10 |weight|", ylabel="weights"
        )
        sparse.legend()
