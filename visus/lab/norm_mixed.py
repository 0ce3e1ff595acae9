"""Where style carries the class and where it is noise: batch, instance, batch-instance norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from visus.lab import experiments
from visus.lab.bench import cnn, fit, images, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, dots, percent

NAMES, TASKS = ("batch", "instance", "batch-instance"), ("content", "style")


def restyle(x: Tensor, strength: Tensor) -> Tensor:
    """Each image with a contrast of its own, `(N)`."""
    return x * strength[:, None, None, None].to(x.device)


@experiments.member
class NormMixed(Experiment):
    topic = "norms"
    claim = "Batch-instance norm keeps style where it tells the class and drops it where it does not; batch or instance norm can do only one."
    source = "Nam & Kim 2018"
    seeds = 3
    quick = Settings(steps=150, width=16, train=800, data="digits")
    full = Settings(steps=4000, width=64, train=20_000, data="cifar10")
    tiny = Settings(steps=3, width=4)
    inches = (9.8, 3.2)

    def measure(self, seed, *, steps, width, train, data):
        held, rng = images(seed, train, data=data), np.random.default_rng(seed)
        found: dict[str, Any] = {"data": held.source, "error": {}, "gates": {}}
        for task in TASKS:
            learned, validation = self._data(held, task, rng)
            for name in NAMES:
                model = start(cnn(held.shape[0], width, 3, name), seed)
                fit(model, *learned, steps=steps, rate=0.05, seed=seed)
                found["error"][f"{task} {name}"] = score(model, *validation)[1]
                if name == "batch-instance":
                    gates = [
                        p.detach().flatten()
                        for n, p in model.named_parameters()
                        if n.endswith("gate")
                    ]
                    found["gates"][task] = torch.cat(gates).tolist()
        return found

    def _data(self, held, task, rng):
        made = []
        for x, y in ((held.x, held.y), held.validation):
            style = torch.from_numpy(rng.integers(0, 4, len(x))).to(x.device)
            # Classes of contrast a factor 2 apart; as noise over the same range.
            made.append((restyle(x, 0.25 * 2.0 ** style.float()), style if task == "style" else y))
        return made

    def checks(self, runs):
        error = lambda key: np.array([r["error"][key] for r in runs])  # noqa: E731
        off = {
            t: error(f"{t} batch-instance")
            - np.minimum(error(f"{t} batch"), error(f"{t} instance"))
            for t in TASKS
        }
        kept = [np.mean(r["gates"]["style"]) - np.mean(r["gates"]["content"]) for r in runs]
        return [
            Check("content: error of batch-instance - of the better of the two", off["content"].tolist(), "<", 0.03, percent=True),
            Check("style: the same", off["style"].tolist(), "<", 0.03, percent=True),
            Check("mean gate (1: batch) where style is the class - where it is not", kept, ">", 0.0),
        ]  # fmt: skip

    def draw(self, figure, runs):
        left, middle, right = figure.subplots(1, 3)
        for axes, task in ((left, "content"), (middle, "style")):
            dots(
                axes,
                ("batch", "instance", "batch-\ninstance"),
                [[r["error"][f"{task} {n}"] for r in runs] for n in NAMES],
            )
            axes.set(
                title=f"Class: the {'contrast' if task == 'style' else 'content, any contrast'}",
                ylabel="validation error",
            )
            percent(axes)
        for task, color in (("content", BLUE), ("style", ORANGE)):
            gates = np.concatenate([r["gates"][task] for r in runs])
            right.hist(
                gates,
                np.linspace(0, 1, 21),
                color=color,
                alpha=0.55,
                label=f"class is the {'contrast' if task == 'style' else 'content'}",
            )
        right.set(title="Learned gates", xlabel="rho (0: instance, 1: batch)", ylabel="channels")
        right.legend()
