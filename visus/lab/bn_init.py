"""Good and bad initialization, with and without batch norm."""

from __future__ import annotations

from typing import Any

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band, percent

STDS = (0.001, 0.01, 0.05, 0.15, 0.5, 1.5)


@experiments.member
class BnInit(Experiment):
    topic = "batch norm"
    claim = "With batch norm a network trains from good and bad initialization; without it only from good."
    source = "Ioffe & Szegedy 2015"
    seeds = 3
    quick = Settings(steps=400, width=48, depth=5)
    full = Settings(steps=3000, width=256, depth=10)
    tiny = Settings(steps=4, width=8)
    inches = (7, 3.4)

    def measure(self, seed, *, steps, width, depth):
        held = images(seed)
        found: dict[str, Any] = {"data": held.source}
        for name, bn in (("none", False), ("batch", True)):
            found[name] = []
            for std in STDS:
                model = start(mlp(held.x[0].numel(), width, depth, bn=bn), seed, "normal", std=std)
                fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed)
                found[name].append(score(model, *held.validation)[1])
        return found

    def checks(self, runs):
        return [
            Check("worst error over all deviations, batch norm", [max(r["batch"]) for r in runs], "<", 0.2, percent=True),
            Check("worst error over all deviations, none", [max(r["none"]) for r in runs], ">", 0.5, percent=True),
            Check("best error, none", [min(r["none"]) for r in runs], "<", 0.2, percent=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        axes = figure.subplots()
        for name, color, word in (("none", ORANGE, "without"), ("batch", BLUE, "with batch norm")):
            band(axes, STDS, [r[name] for r in runs], color=color, label=word, marker="o")
        axes.set(
            title="Error after the same training",
            xlabel="standard deviation of the first weights",
            ylabel="validation error",
            xscale="log",
            ylim=(0, 1),
        )
        percent(axes)
        axes.legend(loc="center left")
