"""Saturated units pass no gradient: its size at every layer of a deep stack."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import act, images, mlp, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS, band

NAMES = ("relu", "leaky-relu", "elu", "tanh", "sigmoid")


@experiments.member
class Saturation(Experiment):
    topic = "activations"
    claim = "Saturation kills the gradient: below a stack of sigmoids almost nothing of it arrives."
    source = "Glorot & Bengio 2010"
    quick = Settings(depth=8, width=64)
    full = Settings(depth=20, width=256)
    inches = (9.5, 3.2)

    def measure(self, seed, *, depth, width):
        held = images(seed, 500)
        return {
            "data": held.source,
            "gradient": {n: self._flow(n, seed, held, depth, width) for n in NAMES},
        }

    def _flow(self, name, seed, held, depth, width):
        model = start(
            mlp(held.x[0].numel(), width, depth, name),
            seed,
            "xavier" if name in ("tanh", "sigmoid") else "he",
        )
        nn.functional.cross_entropy(model(held.x[:200]), held.y[:200]).backward()
        linear = [m for m in model if isinstance(m, nn.Linear)][:-1]
        return [float(m.weight.grad.norm() / m.weight.detach().norm()) for m in linear]  # type: ignore[union-attr]

    def checks(self, runs):
        reach = {n: [r["gradient"][n][0] / r["gradient"][n][-1] for r in runs] for n in NAMES}
        return [
            Check("share of the last layer's gradient at the first, sigmoid", reach["sigmoid"], "<", 0.01, ratio=True),
            Check("the same, ReLU", reach["relu"], ">", 0.1, ratio=True),
        ]  # fmt: skip

    def draw(self, figure, runs):
        curve, slope, flow = figure.subplots(1, 3)
        x = torch.linspace(-5, 5, 201, requires_grad=True)
        for name, color in zip(NAMES, COLORS, strict=False):
            y = act(name)(x)
            (g,) = torch.autograd.grad(y.sum(), x)
            curve.plot(x.detach(), y.detach(), color=color)
            slope.plot(x.detach(), g, color=color)
            runs_ = [r["gradient"][name] for r in runs]
            band(flow, np.arange(1, len(runs_[0]) + 1), runs_, color=color, label=name)
        curve.set(title="Activation y(x)", xlabel="x", ylabel="y", ylim=(-1.5, 3))
        slope.set(title="Its gradient dy/dx", xlabel="x", ylabel="dy/dx")
        flow.set(title="What arrives at each layer", xlabel="layer (1 = first)", yscale="log",
                 ylabel="|gradient| / |weight|")  # fmt: skip
        flow.legend(loc="lower right", fontsize=7.5)
