"""All-positive inputs: the gradients of a unit's weights share one sign, and the path zig-zags."""

from __future__ import annotations

from typing import Any

import numpy as np

from visus.lab import experiments
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE


def path(x: np.ndarray, target: np.ndarray, rate: float, steps: int) -> tuple[np.ndarray, float]:
    """Weights `(steps + 1, 2)` of sample-by-sample descent on (w x - w* x)^2, and how often both move one way."""
    w, way, same = np.zeros(2), [np.zeros(2)], []
    for i in range(steps):
        move = -rate * 2 * (w - target) @ x[i % len(x)] * x[i % len(x)]
        same.append(float(np.prod(move) > 0))
        w = w + move
        way.append(w)
    return np.array(way), float(np.mean(same))


@experiments.member
class ZigZag(Experiment):
    topic = "activations"
    claim = "All-positive inputs force the weights of a unit to move all up or all down: the path zig-zags."
    source = "LeCun et al. 1998, Efficient BackProp, section 4.3"
    seeds = 10
    quick = Settings(steps=400)
    tiny = Settings(steps=50)
    inches = (7.5, 3.6)

    def measure(self, seed, *, steps):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0, 1, (200, 2)) * 1.7
        target = np.array([1.0, -1.0])
        found: dict[str, Any] = {}
        for name, points in (("positive", x), ("centered", x - x.mean(0))):
            # Both at half the largest stable mean step: the same rate times largest curvature.
            top = np.linalg.eigvalsh(points.T @ points / len(points))[-1]
            way, same = path(points, target, 0.25 / top, steps)
            left = np.linalg.norm(way - target, axis=1)
            near = int(np.argmax(left < 0.1)) if (left < 0.1).any() else steps
            found[name] = {"way": way[:80], "same": same, "steps": near}
        return found

    def checks(self, runs):
        slower = [max(r["positive"]["steps"], 1) / max(r["centered"]["steps"], 1) for r in runs]
        same = [r["positive"]["same"] for r in runs]
        return [
            Check("steps that move both weights the same way, positive inputs", same, ">", 0.99, percent=True),
            Check("the same, centered inputs", [r["centered"]["same"] for r in runs], "<", 0.6, percent=True),
            Check("steps until near the goal, positive / centered", slower, ">", 1.0, ratio=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        for axes, name, color in zip(
            figure.subplots(1, 2, sharex=True, sharey=True),
            ("positive", "centered"),
            (ORANGE, BLUE),
            strict=True,
        ):
            way = np.array(runs[0][name]["way"])
            axes.plot(*way.T, ".-", color=color, lw=1, ms=3)
            axes.plot(0, 0, "ko", ms=5)
            axes.plot(1, -1, "k*", ms=11)
            axes.annotate("start", (0, 0), (-4, 6), textcoords="offset points", ha="right")
            axes.annotate("goal", (1, -1), (7, -3), textcoords="offset points")
            steps = np.mean([r[name]["steps"] for r in runs])
            axes.set(
                title=f"{name.capitalize()} inputs: {steps:.0f} steps to the goal",
                xlabel="weight 1",
                ylabel="weight 2",
                aspect="equal",
            )
            axes.margins(0.18)
