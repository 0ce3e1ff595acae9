"""Batch, group, layer and instance norm by the size of the batch, the same number of images."""

from __future__ import annotations

from typing import Any

from visus.lab import experiments
from visus.lab.bench import cnn, fit, images, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS, band, percent

NORMS = {"batch": {}, "group": {"groups": 4}, "layer": {}, "instance": {}}
SIZES = (2, 4, 8, 32)


@experiments.member
class NormBatchSize(Experiment):
    topic = "norms"
    claim = "Batch norm suffers from batches of 2 to 4; group norm does not care."
    source = "Wu & He 2018, figure 1"
    seeds = 3
    quick = Settings(samples=10000, width=16)
    full = Settings(samples=60000, width=64)
    tiny = Settings(samples=64, width=4)
    inches = (7, 3.4)

    def measure(self, seed, *, samples, width):
        held = images(seed, 800)
        found: dict[str, Any] = {"data": held.source}
        for name, options in NORMS.items():
            found[name] = []
            for size in SIZES:
                model = start(cnn(held.shape[0], width, 3, name, **options), seed)
                # The rate grows with the batch, as in the source: 0.2 at 32.
                fit(
                    model,
                    held.x,
                    held.y,
                    steps=samples // size,
                    rate=0.2 * size / 32,
                    batch=size,
                    seed=seed,
                )
                found[name].append(score(model, *held.validation)[1])
        return found

    def checks(self, runs):
        rise = {n: [r[n][0] - r[n][-1] for r in runs] for n in ("batch", "group")}
        more = [a - b for a, b in zip(rise["batch"], rise["group"], strict=True)]
        return [
            Check("error of batch norm at 2 - at 32", rise["batch"], ">", 0.0, percent=True),
            Check("error of group norm at 2 - at 32", rise["group"], "<", 0.03, percent=True),
            Check("rise of batch norm - rise of group norm", more, ">", 0.0, percent=True),
        ]

    def draw(self, figure, runs):
        axes = figure.subplots()
        for name, color in zip(NORMS, COLORS, strict=False):
            band(
                axes, SIZES, [r[name] for r in runs], color=color, marker="o", label=f"{name} norm"
            )
        axes.set(
            title="Error by batch size, as many images seen",
            xlabel="batch size",
            ylabel="validation error",
            ylim=(0, None),
        )
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, SIZES)
        percent(axes)
        axes.legend()
