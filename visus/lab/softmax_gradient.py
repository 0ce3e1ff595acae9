"""Softmax with cross entropy: the gradient by the scores is p - y, by finite differences."""

from __future__ import annotations

import numpy as np

from visus.lab import experiments
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, GREEN, ORANGE


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


@experiments.member
class SoftmaxGradient(Experiment):
    topic = "losses"
    claim = "The gradient of softmax and cross entropy by the scores is p - y."
    source = "Bishop 2006, eq. 4.109"
    quick = Settings(classes=6)
    inches = (8, 3)

    def measure(self, seed, *, classes):
        rng = np.random.default_rng(seed)
        z, y = rng.normal(0, 2, classes), np.eye(classes)[rng.integers(classes)]
        loss = lambda v: -float(np.log(softmax(v)) @ y)  # noqa: E731
        h = 1e-5
        slope = np.array([(loss(z + h * e) - loss(z - h * e)) / (2 * h) for e in np.eye(classes)])
        claimed = softmax(z) - y
        return {"p": softmax(z), "y": y, "slope": slope, "off": float(abs(slope - claimed).max())}

    def checks(self, runs):
        return [
            Check("largest difference to finite differences", [r["off"] for r in runs], "<", 1e-8)
        ]

    def draw(self, figure, runs):
        left, right = figure.subplots(1, 2)
        run = runs[0]
        x = np.arange(len(run["p"]))
        left.bar(x - 0.2, run["p"], 0.4, color=BLUE, label="p = softmax(z)")
        left.bar(x + 0.2, run["y"], 0.4, color=GREEN, label="y (target)")
        left.set(
            title="Probabilities and target", xlabel="class", ylabel="probability", ylim=(0, 1.3)
        )
        left.legend(ncols=2, loc="upper left")
        right.bar(x, np.subtract(run["p"], run["y"]), 0.6, color=ORANGE, alpha=0.5, label="p - y")
        right.plot(x, run["slope"], "k_", ms=18, mew=2, label="finite differences")
        right.set(title="Gradient by the scores", xlabel="class", ylabel="dL/dz", ylim=(-1.1, 1.3))
        right.legend(ncols=2, loc="upper left")
