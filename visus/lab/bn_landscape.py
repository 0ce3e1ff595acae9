"""Along the gradient: spread of the loss, how far the gradient can be trusted, beta-smoothness."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band

LENGTHS = tuple(float(v) for v in np.geomspace(0.05, 0.4, 5))


def gradient(model: nn.Module, x, y) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradient by the parameters, statistics of the batch, nothing kept."""
    loss = nn.functional.cross_entropy(model(x), y)
    return float(loss.detach()), list(torch.autograd.grad(loss, list(model.parameters())))


def along(model: nn.Module, x, y) -> tuple[float, float, float]:
    """(loss range, largest gradient difference, largest ratio of difference to distance)."""
    parameters = list(model.parameters())
    _, g = gradient(model, x, y)
    losses, apart, beta = [], [], []
    norm = float(torch.cat([v.flatten() for v in g]).norm())
    for length in LENGTHS:
        with torch.no_grad():
            for p, v in zip(parameters, g, strict=True):
                p.sub_(length * v)
        loss, there = gradient(model, x, y)
        far = float(torch.cat([(a - b).flatten() for a, b in zip(there, g, strict=True)]).norm())
        losses.append(loss)
        apart.append(far)
        beta.append(far / (length * norm + 1e-12))
        with torch.no_grad():
            for p, v in zip(parameters, g, strict=True):
                p.add_(length * v)
    return max(losses) - min(losses), max(apart), max(beta)


@experiments.member
class BnLandscape(Experiment):
    topic = "batch norm"
    claim = "Batch norm smooths the landscape: the loss varies less along the gradient, which predicts better and changes less."
    source = "Santurkar et al. 2018, section 3.1"
    quick = Settings(steps=150, width=48, depth=6, every=10, train=1000, data="digits")
    full = Settings(steps=3000, width=256, depth=12, every=50, train=20_000, data="cifar10")
    tiny = Settings(steps=4, width=8, every=2)
    inches = (9.5, 3.2)

    def measure(self, seed, *, steps, width, depth, every, train, data):
        held = images(seed, train, data=data)
        found: dict[str, Any] = {"data": held.source, "every": every}
        for name, bn in (("none", False), ("batch", True)):
            model, rows = start(mlp(held.x[0].numel(), width, depth, bn=bn), seed), []

            def look(step, _, model=model, rows=rows):
                if step % every == 0:
                    rows.append(along(model, held.x[:256], held.y[:256]))

            fit(
                model,
                held.x,
                held.y,
                steps=steps,
                rate=0.1,
                seed=seed,
                momentum=0.0,
                flat=True,
                each=look,
            )
            found[name] = np.array(rows).T.tolist()
        return found

    def checks(self, runs):
        words = ("range of the loss", "change of the gradient", "effective beta")
        return [
            Check(f"{word}, batch norm / none, mean over training",
                  [np.mean(r["batch"][i]) / np.mean(r["none"][i]) for r in runs], "<", 1.0, ratio=True)
            for i, word in enumerate(words)
        ]  # fmt: skip

    def draw(self, figure, runs):
        titles = ("Range of the loss", "Change of the gradient", "Effective beta-smoothness")
        units = ("nats", "|g' - g|", "|g' - g| / distance")
        for i, axes in enumerate(figure.subplots(1, 3)):
            for name, color in (("none", ORANGE), ("batch", BLUE)):
                held = [r[name][i] for r in runs]
                word = "with batch norm" if name == "batch" else "without"
                band(
                    axes, np.arange(len(held[0])) * runs[0]["every"], held, color=color, label=word
                )
            axes.set(title=titles[i], xlabel="step", ylabel=units[i], yscale="log")
            if i == 0:
                axes.legend(loc="best")
