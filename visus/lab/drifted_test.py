"""Bad division and drifted test set: what the three errors then look like."""

from __future__ import annotations

import torch

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, GREEN, ORANGE, percent

CASES = ("good", "bad division", "drifted test")


@experiments.member
class DriftedTest(Experiment):
    topic = "procedure"
    claim = "A drifted test set raises the test error alone; a division without regard to the classes raises validation and test error."
    quick = Settings(steps=200, width=48)
    full = Settings(steps=4000, width=256)
    tiny = Settings(steps=3, width=8)
    inches = (7, 3.2)

    def measure(self, seed, *, steps, width):
        return {"data": images(seed).source, **{c: self._one(c, seed, steps, width) for c in CASES}}

    def _one(self, case, seed, steps, width):
        held = images(seed, 900)
        sets = [(held.x, held.y), held.validation, held.test]
        if case == "bad division":  # sorted by class, then cut
            x, y = (torch.cat([s[i] for s in sets]) for i in (0, 1))
            order = y.sort(stable=True).indices
            sets = [(x[i], y[i]) for i in order.split([len(s[1]) for s in sets])]
        if case == "drifted test":  # the camera was moved by a pixel
            sets[2] = (sets[2][0].roll(1, 3), sets[2][1])
        model = start(mlp(held.x[0].numel(), width, 1), seed)
        fit(model, *sets[0], steps=steps, rate=0.05, seed=seed)
        return [score(model, *s)[1] for s in sets]

    def checks(self, runs):
        off = lambda case, i: [r[case][i] - r["good"][i] for r in runs]  # noqa: E731
        return [
            Check("drift: test error - that of the good division", off("drifted test", 2), ">", 0.1, percent=True),
            Check("drift: validation error - good", off("drifted test", 1), "<", 0.01, percent=True),
            Check("bad division: validation error - good", off("bad division", 1), ">", 0.1, percent=True),
            Check("bad division: test error - good", off("bad division", 2), ">", 0.1, percent=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        axes = figure.subplots()
        for i, (name, color) in enumerate(
            (("train", BLUE), ("validation", GREEN), ("test", ORANGE))
        ):
            for j, case in enumerate(CASES):
                values = [r[case][i] for r in runs]
                at = j + 0.27 * (i - 1)
                axes.bar(
                    at,
                    sum(values) / len(values),
                    0.25,
                    color=color,
                    alpha=0.4,
                    label=name if j == 0 else None,
                )
                axes.plot([at] * len(values), values, "o", ms=3, color=color)
        axes.set_xticks(range(len(CASES)), CASES)
        axes.grid(axis="x", visible=False)
        axes.set(title="The three errors", ylabel="error", ylim=(0, 1.2))
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        percent(axes)
        axes.legend(ncols=3, loc="upper right")
