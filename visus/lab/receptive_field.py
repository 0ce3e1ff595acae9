"""What a unit could see and what it does see: gradient of the center output by the input."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.experiment import Check, Experiment, Settings
from visus.layers import ASPP, Conv2d, inits

STACKS = {"rates 1, 1, 1, 1": (1, 1, 1, 1), "rates 1, 2, 4, 8": (1, 2, 4, 8), "ASPP 3, 6, 12": None}


def extent(name: str) -> int:
    """The theoretical window: 1 + 2 (sum of rates); of ASPP 2 (largest rate) + 1."""
    rates = STACKS[name]
    return 1 + 2 * sum(rates) if rates else 1 + 2 * 12


@experiments.member
class ReceptiveField(Experiment):
    topic = "convolution"
    claim = "Atrous stacks and ASPP widen the receptive field; the effective one is smaller than the theoretical."
    source = "Luo et al. 2016; Chen et al. 2017"
    seeds = 15
    quick = Settings(size=41, channels=16, draws=16)
    full = Settings(size=81, channels=64, draws=100)
    tiny = Settings(size=33, channels=2, draws=2)
    inches = (9, 3.3)

    def measure(self, seed, *, size, channels, draws):
        torch.manual_seed(seed)
        return {name: self._one(name, size, channels, draws) for name in STACKS}

    def _one(self, name, size, channels, draws):
        total, middle = torch.zeros(size, size), size // 2
        for _ in range(draws):
            model = self._net(STACKS[name], channels)
            inits.make("he", model)
            x = torch.randn(1, channels, size, size, requires_grad=True)
            (g,) = torch.autograd.grad(model(x)[0, :, middle, middle].sum(), x)
            total += g[0].square().mean(0)
        share = total / total.sum()
        reached = (share.sum(0) > 0).nonzero()
        seen = int(reached.max() - reached.min()) + 1
        near = (torch.arange(size) - middle).float().square()
        width = 4 * float(share.sum(0) @ near) ** 0.5  # +- two standard deviations
        return {"map": share.sqrt().tolist(), "seen": seen, "effective": width}

    def _net(self, rates, channels):
        if rates is None:
            return ASPP(channels, channels, (3, 6, 12), norm="none", pooling=False)
        layers: list[nn.Module] = []
        for r in rates:
            layers += [Conv2d(channels, channels, 3, padding=r, dilation=r), nn.ReLU()]
        return nn.Sequential(*layers)

    def checks(self, runs):
        wider = [
            r["rates 1, 2, 4, 8"]["effective"] / r["rates 1, 1, 1, 1"]["effective"] for r in runs
        ]
        wrong = [sum(r[n]["seen"] != extent(n) for n in STACKS) for r in runs]
        small = [max(r[n]["effective"] / extent(n) for n in STACKS) for r in runs]
        return [
            Check("measured extents that differ from the formula", wrong, "<", 1),
            Check("effective / theoretical, the largest of the three", small, "<", 1, ratio=True),
            Check(
                "effective width, rates 1, 2, 4, 8 / rates 1, 1, 1, 1", wider, ">", 1.5, ratio=True
            ),
        ]

    def draw(self, figure, runs):
        from matplotlib.patches import Rectangle

        figure.suptitle(
            "Grey: theoretical window. Orange: effective, two standard deviations to each side",
            fontsize=9,
        )
        for axes, name in zip(figure.subplots(1, 3), STACKS, strict=True):
            plane = np.array(runs[0][name]["map"])
            axes.imshow(plane, cmap="Blues", vmax=np.quantile(plane, 0.995))
            effective = float(np.mean([r[name]["effective"] for r in runs]))
            axes.set(
                title=name,
                xlabel=f"theoretical {extent(name)}, effective {effective:.1f} pixels",
                xticks=[],
                yticks=[],
            )
            axes.grid(False)
            for width, color in ((extent(name), "#767676"), (effective, "#e07b1a")):
                low = (len(plane) - 1 - width) / 2
                axes.add_patch(Rectangle((low, low), width, width, fill=False, ec=color, lw=1.5))
