"""The gradient of a batch against that of the whole training set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from visus.lab import experiments
from visus.lab.bench import batches, fit, images, mlp, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band

SIZES = (1, 4, 16, 64, 256)


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient by all parameters as one vector."""
    loss = nn.functional.cross_entropy(model(x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@experiments.member
class SgdGradient(Experiment):
    topic = "procedure"
    claim = "The gradient of a batch is the full gradient and noise: right on average, and off by 1 / sqrt(batch size)."
    source = "Bottou, Curtis & Nocedal 2018, section 4"
    quick = Settings(draws=60, width=32)
    full = Settings(draws=1000, width=256)
    tiny = Settings(draws=4, width=8)
    inches = (9, 3.2)

    def measure(self, seed, *, draws, width):
        held = images(seed)
        model = start(mlp(held.x[0].numel(), width, 2), seed)
        fit(model, held.x, held.y, steps=20, rate=0.02, seed=seed)
        whole = gradient(model, held.x, held.y)
        found = {"data": held.source, "cosine": [], "noise": []}
        for size in SIZES:
            rows = [
                gradient(model, held.x[i], held.y[i])
                for i in batches(len(held.x), size, draws, seed)
            ]
            g = torch.stack(rows)
            found["cosine"].append(float(nn.functional.cosine_similarity(g, whole[None]).mean()))
            found["noise"].append(float((g - whole).norm(dim=1).mean() / whole.norm()))
            if size == SIZES[2]:
                found["mean"] = float(nn.functional.cosine_similarity(g.mean(0), whole, dim=0))
        return found

    def checks(self, runs):
        slope = [np.polyfit(np.log(SIZES[:-1]), np.log(r["noise"][:-1]), 1)[0] for r in runs]
        return [
            Check("slope of log noise over log batch size (-0.5 in theory)", slope, "<", -0.4),
            Check("the same", slope, ">", -0.6),
            Check("cosine of the mean of many batches of 16 with the full gradient", [r["mean"] for r in runs], ">", 0.95),
        ]  # fmt: skip

    def draw(self, figure, runs):
        left, right = figure.subplots(1, 2)
        band(left, SIZES, [r["noise"] for r in runs], color=ORANGE, marker="o", label="measured")
        first = np.median([r["noise"][0] for r in runs])
        left.plot(SIZES, first / np.sqrt(SIZES), "k:", lw=1, label="1 / sqrt(batch size)")
        left.set(
            title="Noise of the gradient",
            xlabel="batch size",
            ylabel="|g - full| / |full|",
            xscale="log",
            yscale="log",
        )
        left.legend()
        band(right, SIZES, [r["cosine"] for r in runs], color=BLUE, marker="o")
        right.set(
            title="Direction",
            xlabel="batch size",
            ylabel="cosine with the full gradient",
            xscale="log",
            ylim=(0, 1.03),
        )
        for axes in (left, right):
            axes.set_xticks(SIZES, SIZES)
            axes.minorticks_off()
        low, high = left.get_ylim()
        shown = [v for v in (0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= v <= high]
        left.set_yticks(shown, shown)
