"""Weights that start equal get equal gradients and stay equal: one unit a layer in disguise."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, COLORS, ORANGE, band, dots, percent

WAYS = ("zero", "constant", "He")


@experiments.member
class InitZero(Experiment):
    topic = "initialization"
    claim = "Weights that all start equal, as zeros do, get equal gradients: the units of a layer never differ."
    quick = Settings(steps=300, width=32)
    full = Settings(steps=3000, width=256)
    tiny = Settings(steps=20, width=8)
    inches = (9.5, 3.2)

    def measure(self, seed, *, steps, width):
        held = images(seed, 600)
        return {"data": held.source, **{n: self._one(n, seed, held, steps, width) for n in WAYS}}

    def _one(self, name, seed, held, steps, width):
        model = start(
            mlp(held.x[0].numel(), width, 2, "tanh"), seed, "he" if name == "He" else "zero"
        )
        if name == "constant":
            with torch.no_grad():
                for p in model.parameters():
                    p.fill_(0.02)
        loss = fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed)
        model.zero_grad()
        nn.functional.cross_entropy(model(held.x), held.y).backward()
        middle = model[3]
        assert isinstance(middle, nn.Linear) and middle.weight.grad is not None
        rows, grads = middle.weight.detach(), middle.weight.grad
        apart = float(grads.std(0).norm() / grads.norm().clamp_min(1e-30))
        return {
            "apart": apart, "weights": rows[:24, :24], "error": score(model, *held.validation)[1],
            "loss": [float(np.mean(c)) for c in np.array_split(loss, min(30, steps))], "steps": steps,
        }  # fmt: skip

    def checks(self, runs):
        get = lambda n, k: [r[n][k] for r in runs]  # noqa: E731
        return [
            Check("zero: spread of the gradients of a layer's units after training", get("zero", "apart"), "<", 1e-4),
            Check("constant: the same", get("constant", "apart"), "<", 1e-4),
            Check("He: the same", get("He", "apart"), ">", 1e-2),
            Check("error of zero - error of He", np.subtract(get("zero", "error"), get("He", "error")).tolist(), ">", 0.3, percent=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        axes = figure.subplots(1, 4, width_ratios=(1, 1, 1.3, 1.2))
        for a, name in zip(axes, ("constant", "He"), strict=False):
            w = np.array(runs[0][name]["weights"])
            a.imshow(w, cmap="RdBu_r", vmin=-abs(w).max(), vmax=abs(w).max())
            a.set(
                title=f"Trained from {name}",
                xlabel="input",
                ylabel="unit of layer 2",
                xticks=[],
                yticks=[],
            )
            a.grid(False)
        for name, color in zip(WAYS, (ORANGE, COLORS[3], BLUE), strict=True):
            held = [r[name]["loss"] for r in runs]
            band(
                axes[2],
                np.linspace(0, runs[0][name]["steps"], len(held[0])),
                held,
                color=color,
                label=name,
            )
        axes[2].set(
            title="Training loss", xlabel="step", ylabel="cross entropy (nats)", ylim=(0, None)
        )
        axes[2].legend()
        dots(
            axes[3], WAYS, [[r[n]["error"] for r in runs] for n in WAYS], (ORANGE, COLORS[3], BLUE)
        )
        axes[3].set(title="Validation error")
        percent(axes[3])
