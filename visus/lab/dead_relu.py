"""Units that are below zero for every image: ReLU never revives them, leaky ReLU may."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS, band, dots, percent

NAMES = ("relu", "leaky-relu", "elu")


@experiments.member
class DeadRelu(Experiment):
    topic = "activations"
    claim = "A dead ReLU never comes back; a leaky ReLU has a small chance to."
    source = "Maas, Hannun & Ng 2013"
    quick = Settings(steps=600, width=64)
    full = Settings(steps=5000, width=256)
    tiny = Settings(steps=20, width=16)
    inches = (9, 3.2)

    def measure(self, seed, *, steps, width):
        held = images(seed, 600)
        return {"data": held.source, **{n: self._one(n, seed, held, steps, width) for n in NAMES}}

    def _one(self, name, seed, held, steps, width):
        model = start(mlp(held.x[0].numel(), width, 1, name), seed)
        first = model[1]
        assert isinstance(first, nn.Linear)
        with torch.no_grad():  # half of the units start below zero for every image
            top = (held.x.flatten(1) @ first.weight.T).max(0).values
            first.bias[: width // 2] = -top[: width // 2] - 0.05
        dead = lambda: (first(held.x.flatten(1)) <= 0).all(0)[: width // 2].float().mean().item()  # noqa: E731
        shares, every = [dead()], max(1, steps // 30)
        fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed, flat=True,
            each=lambda s, _: shares.append(dead()) if (s + 1) % every == 0 else None)  # fmt: skip
        return {"dead": shares, "every": every, "error": score(model, *held.validation)[1]}

    def checks(self, runs):
        back = {n: [1 - r[n]["dead"][-1] for r in runs] for n in NAMES}
        return [
            Check("dead ReLU units that came back", back["relu"], "<", 0.001, percent=True),
            Check("dead leaky units that came back", back["leaky-relu"], ">", 0.001, percent=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        left, right = figure.subplots(1, 2)
        for name, color in zip(NAMES, COLORS, strict=False):
            held = [r[name]["dead"] for r in runs]
            band(
                left,
                np.arange(len(held[0])) * runs[0][name]["every"],
                held,
                color=color,
                label=name,
            )
        left.set(
            title="Of the units that start dead, still dead",
            xlabel="step",
            ylabel="share",
            ylim=(-0.03, 1.05),
        )
        left.legend()
        percent(left)
        dots(right, NAMES, [[r[n]["error"] for r in runs] for n in NAMES])
        right.set(title="Validation error, half the units dead at the start", ylabel="error")
        percent(right)
