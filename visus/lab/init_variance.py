"""Variance of the signal and of its gradient by layer for every way to initialize."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import images, mlp
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS, band
from visus.layers import inits

WAYS = {
    "zero": ("zero", {}), "N(0, 0.01²)": ("normal", {"std": 0.01}), "N(0, 0.3²)": ("normal", {"std": 0.3}),
    "Xavier": ("xavier", {}), "He": ("he", {}), "data": ("data", {}),
}  # fmt: skip


@experiments.member
class InitVariance(Experiment):
    topic = "initialization"
    claim = "He's initialization keeps the variance of signal and gradient through a ReLU network; fixed deviations do not."
    source = "He et al. 2015, eq. 10 and 14; Glorot & Bengio 2010; Mishkin & Matas 2016"
    quick = Settings(depth=10, width=128)
    full = Settings(depth=30, width=512)
    tiny = Settings(depth=5, width=32)
    inches = (9.5, 3.4)

    def measure(self, seed, *, depth, width):
        held = images(seed, 400)
        found = {n: self._one(seed, held, depth, width, *way) for n, way in WAYS.items()}
        return {"data": held.source, "depth": depth, "ways": found}

    def _one(self, seed, held, depth, width, name, options):
        torch.manual_seed(seed)
        model = mlp(held.x[0].numel(), width, depth)
        inits.make(name, model, held.x, **options)
        linear, caught = [m for m in model if isinstance(m, nn.Linear)][:-1], []
        for m in linear:
            m.register_forward_hook(lambda _m, _i, out: (out.retain_grad(), caught.append(out))[1])
        nn.functional.cross_entropy(model(held.x), held.y).backward()
        return {
            "signal": [float(z.detach().var()) for z in caught],
            "gradient": [float(z.grad.square().mean()) if z.grad is not None else 0.0 for z in caught],
        }  # fmt: skip

    def checks(self, runs):
        def grows(name, what):
            held = [r["ways"][name][what] for r in runs]
            return [(h[-1] / h[0] if what == "signal" else h[0] / h[-1]) or 1e-30 for h in held]

        return [
            Check("He: signal variance, last / first layer", grows("He", "signal"), ">", 0.1, ratio=True),
            Check("He: the same", grows("He", "signal"), "<", 10, ratio=True),
            Check("He: gradient variance, first / last layer", grows("He", "gradient"), ">", 0.1, ratio=True),
            Check("N(0, 0.01²): signal, last / first", grows("N(0, 0.01²)", "signal"), "<", 1e-4, ratio=True),
            Check("N(0, 0.3²): signal, last / first", grows("N(0, 0.3²)", "signal"), ">", 10, ratio=True),
            Check("Xavier: signal, last / first", grows("Xavier", "signal"), "<", 0.1, ratio=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        signal, gradient = figure.subplots(1, 2)
        for (name, color), style in zip(
            zip(WAYS, COLORS, strict=True), ("-", "-", "-", "-", "-", "--"), strict=True
        ):
            for axes, what in ((signal, "signal"), (gradient, "gradient")):
                held = np.array([r["ways"][name][what] for r in runs])
                if held.max() > 0:
                    band(
                        axes,
                        np.arange(1, held.shape[1] + 1),
                        held,
                        color=color,
                        label=name,
                        ls=style,
                    )
        signal.set(
            title="Forward: variance of the signal",
            xlabel="layer",
            ylabel="variance of z",
            yscale="log",
        )
        gradient.set(
            title="Backward: power of the gradient (zero: exactly 0)",
            xlabel="layer",
            ylabel="mean (dL/dz)²",
            yscale="log",
        )
        figure.legend(*signal.get_legend_handles_labels(), loc="outside right center")
