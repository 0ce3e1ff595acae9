"""Batch norm with injected covariate shift: random shifts and scales after it, new at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, COLORS, ORANGE, band, dots, percent

NAMES = ("none", "batch", "noisy batch")


class Shift(nn.Module):
    """Scale and shift of each unit, drawn anew at every training step: a covariate shift."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        drawn = lambda: torch.rand(1, x.shape[1], device=x.device)  # noqa: E731
        scale = 1 + 0.4 * (2 * drawn() - 1)
        return x * scale + 0.4 * (2 * drawn() - 1)


def noisy(model: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(
        *(n for m in model for n in ((m, Shift()) if isinstance(m, nn.BatchNorm1d) else (m,)))
    )


@experiments.member
class BnNoise(Experiment):
    topic = "batch norm"
    claim = "Batch norm with injected covariate shift trains as well as without the shift, and better than no norm."
    source = "Santurkar et al. 2018, section 2.1"
    seeds = 12
    quick = Settings(steps=200, width=64, depth=8, train=1000, data="digits")
    full = Settings(steps=3000, width=256, depth=16, train=20_000, data="cifar10")
    tiny = Settings(steps=4, width=8)
    inches = (9, 3.2)

    def measure(self, seed, *, steps, width, depth, train, data):
        held = images(seed, train, data=data)
        found: dict[str, Any] = {"data": held.source, "steps": steps}
        for name in NAMES:
            model = mlp(held.x[0].numel(), width, depth, bn=name != "none")
            model = start(noisy(model) if name == "noisy batch" else model, seed, "xavier")
            losses = fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed)
            curve = [float(np.mean(c)) for c in np.array_split(losses, min(25, steps))]
            found[name] = {"curve": curve, "error": score(model, *held.validation)[1]}
        return found

    def checks(self, runs):
        error = {n: np.array([r[n]["error"] for r in runs]) for n in NAMES}
        return [
            Check("error of noisy batch norm - of batch norm", (error["noisy batch"] - error["batch"]).tolist(), "<", 0.02, percent=True),
            Check("error of noisy batch norm - of none", (error["noisy batch"] - error["none"]).tolist(), "<", 0.0, percent=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        left, right = figure.subplots(1, 2)
        colors = (ORANGE, BLUE, COLORS[3])
        for name, color in zip(NAMES, colors, strict=True):
            held = [r[name]["curve"] for r in runs]
            band(
                left, np.linspace(0, runs[0]["steps"], len(held[0])), held, color=color, label=name
            )
        left.set(
            title="Training loss (noise on)",
            xlabel="step",
            ylabel="cross entropy (nats)",
            ylim=(0, None),
        )
        left.legend()
        dots(right, NAMES, [[r[n]["error"] for r in runs] for n in NAMES], colors)
        right.set(title="Validation error", ylabel="error")
        percent(right)
