"""Good and bad initialization, with and without batch norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band, percent

FACTORS = (0.005, 0.05, 0.25, 1.0, 2.5, 8.0)  # of He's deviation


def scaled(model: nn.Sequential, factor: float) -> nn.Sequential:
    """The model with every weight matrix times `factor`."""
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(factor if p.ndim > 1 else 1.0)
    return model


@experiments.member
class BnInit(Experiment):
    topic = "batch norm"
    claim = "With batch norm a network trains from good and bad initialization; without it only from good."
    source = "Ioffe & Szegedy 2015"
    seeds = 3
    quick = Settings(steps=400, width=48, depth=5, train=1000, data="digits")
    full = Settings(steps=3000, width=256, depth=10, train=20_000, data="cifar10")
    tiny = Settings(steps=4, width=8)
    inches = (7, 3.4)

    def measure(self, seed, *, steps, width, depth, train, data):
        held = images(seed, train, data=data)
        found: dict[str, Any] = {"data": held.source}
        for name, bn in (("none", False), ("batch", True)):
            found[name] = []
            for factor in FACTORS:
                model = start(mlp(held.x[0].numel(), width, depth, bn=bn), seed)
                scaled(model, factor)
                fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed)
                found[name].append(score(model, *held.validation)[1])
        return found

    def checks(self, runs):
        # By differences: what a good error is depends on the images.
        off = lambda a, which_a, b, which_b: [which_a(r[a]) - which_b(r[b]) for r in runs]  # noqa: E731
        return [
            Check("batch norm: worst error over all deviations - best", off("batch", max, "batch", min), "<", 0.2, percent=True),
            Check("worst error, none - batch norm", off("none", max, "batch", max), ">", 0.3, percent=True),
            Check("best error, none - batch norm", off("none", min, "batch", min), "<", 0.1, percent=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        axes = figure.subplots()
        for name, color, word in (("none", ORANGE, "without"), ("batch", BLUE, "with batch norm")):
            band(axes, FACTORS, [r[name] for r in runs], color=color, label=word, marker="o")
        axes.set(
            title="Error after the same training",
            xlabel="standard deviation of the first weights / He's",
            ylabel="validation error",
            xscale="log",
            ylim=(0, 1),
        )
        axes.set_xticks(FACTORS, [f"{factor:g}" for factor in FACTORS])
        axes.minorticks_off()
        percent(axes)
        axes.legend(loc="center left")
