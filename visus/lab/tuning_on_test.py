"""The best of many on the test set claims less error than it makes on fresh images."""

from __future__ import annotations

import numpy as np
import torch

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band, percent


@experiments.member
class TuningOnTest(Experiment):
    topic = "procedure"
    claim = "Choosing on the test set makes the claimed error too small, the more trials the more."
    source = "Cawley & Talbot 2010"
    seeds = 8
    quick = Settings(trials=40, test=60)
    full = Settings(trials=300, test=200)
    tiny = Settings(trials=4, test=20)
    inches = (6.5, 3.3)

    def measure(self, seed, *, trials, test):
        held, rng = images(seed, 200, 200), np.random.default_rng(seed)
        x, y = held.test
        wrong = []
        for trial in range(trials):
            model = start(mlp(held.x[0].numel(), int(rng.integers(8, 48)), 1), 1000 * seed + trial)
            fit(model, held.x, held.y, steps=60, rate=float(10 ** rng.uniform(-2, -1)), seed=trial)
            with torch.no_grad():
                wrong.append((model(x).argmax(1) != y).numpy())
        claimed, fresh = (
            np.array([w[part].mean() for w in wrong]) for part in (slice(test), slice(test, None))
        )
        best = [int(np.argmin(claimed[: n + 1])) for n in range(trials)]
        return {"data": held.source, "claimed": claimed[best], "fresh": fresh[best]}

    def checks(self, runs):
        off = [r["fresh"][-1] - r["claimed"][-1] for r in runs]
        return [
            Check(
                "error on fresh images - claimed error of the chosen", off, ">", 0.0, percent=True
            )
        ]

    def draw(self, figure, runs):
        axes = figure.subplots()
        for key, color, word in (
            ("claimed", ORANGE, "claimed on the test set it was chosen on"),
            ("fresh", BLUE, "on images nobody chose by"),
        ):
            values = np.array([r[key] for r in runs])
            band(axes, np.arange(1, values.shape[1] + 1), values, color=color, label=word)
        axes.set(
            title="The best of n trials",
            xlabel="trials n",
            ylabel="error",
            xscale="log",
            ylim=(0, None),
        )
        ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200) if n <= len(runs[0]["fresh"])]
        axes.set_xticks(ticks, ticks)
        axes.minorticks_off()
        percent(axes)
        axes.legend()
