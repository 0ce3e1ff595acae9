"""Statistics for test: running averages against the whole training set, by steps trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.lab import experiments
from visus.lab.bench import cnn, fit, images, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, GREEN, band
from visus.layers import recalibrate

STEPS = (5, 10, 20, 40, 80)


@experiments.member
class BnStatistics(Experiment):
    topic = "batch norm"
    claim = "Statistics over the whole training set are better than running averages after few steps, and equal them after many."
    source = "Ioffe & Szegedy 2015, algorithm 2"
    quick = Settings(width=16, train=1000, data="digits")
    full = Settings(width=64, train=20_000, data="cifar10")
    tiny = Settings(width=4)
    inches = (6.5, 3.3)

    def measure(self, seed, *, width, train, data):
        held = images(seed, train, data=data)
        found: dict[str, Any] = {"data": held.source, "running": [], "whole": []}
        for steps in STEPS:
            model = start(cnn(held.shape[0], width, 2, "batch"), seed)
            fit(model, held.x, held.y, steps=steps, rate=0.2, seed=seed)
            found["running"].append(score(model, *held.validation)[0])
            found["whole"].append(score(recalibrate(model, held.x.split(250)), *held.validation)[0])
        return found

    def checks(self, runs):
        by = np.array([np.divide(r["whole"], r["running"]) for r in runs])
        return [
            Check(f"loss, whole set / running averages, after {STEPS[0]} steps", by[:, 0].tolist(), "<", 1.0, ratio=True),
            Check(f"the same after {STEPS[-1]} steps", by[:, -1].tolist(), ">", 0.9, ratio=True),
            Check("the same", by[:, -1].tolist(), "<", 1.1, ratio=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        axes = figure.subplots()
        band(
            axes,
            STEPS,
            [r["running"] for r in runs],
            color=BLUE,
            marker="o",
            label="running averages",
        )
        band(
            axes,
            STEPS,
            [r["whole"] for r in runs],
            color=GREEN,
            marker="o",
            label="the whole training set",
        )
        axes.set(
            title="Test mode with either statistics",
            xlabel="steps trained",
            ylabel="validation loss (nats)",
            xscale="log",
            ylim=(0, None),
        )
        axes.set_xticks(STEPS, STEPS)
        axes.minorticks_off()
        axes.legend()
