"""The gradients of a convolution are convolutions themselves: checked in float64 and drawn."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from visus.lab import experiments
from visus.lab.experiment import Check, Experiment, Settings
from visus.layers import Conv2d


@experiments.member
class ConvGradient(Experiment):
    topic = "convolution"
    claim = "The local gradient of a convolution is a convolution: of g with the flipped kernel by x, of x with g by w."
    source = "Goodfellow, Bengio & Courville 2016, section 9.5"
    quick = Settings(size=9, kernel=3)
    inches = (9.5, 2.5)

    def measure(self, seed, *, size, kernel):
        torch.manual_seed(seed)
        x = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
        layer = Conv2d(3, 4, kernel, bias=False).double()
        w, y = layer.weight, layer(x)
        g = torch.randn_like(y)
        dx, dw = torch.autograd.grad(y, (x, w), g)
        by_x = F.conv2d(g, w.flip(2, 3).transpose(0, 1), padding=kernel - 1)
        by_w = F.conv2d(x.transpose(0, 1), g.transpose(0, 1)).transpose(0, 1)
        off = [float((a - b).detach().abs().max()) for a, b in ((dx, by_x), (dw, by_w))]
        planes = {"g": g[0, 0], "w, flipped": w[0, 0].flip(0, 1), "dL/dx, autograd": dx[0, 0],
                  "dL/dx, as a convolution": by_x[0, 0]}  # fmt: skip
        return {"off": off, "planes": {k: v.tolist() for k, v in planes.items()}}

    def checks(self, runs):
        return [
            Check(f"largest difference by {name}", [r["off"][i] for r in runs], "<", 1e-10)
            for i, name in enumerate(("x", "w"))
        ]

    def draw(self, figure, runs):
        planes = runs[0]["planes"]
        for axes, (name, plane) in zip(
            figure.subplots(1, len(planes)), planes.items(), strict=True
        ):
            top = max(abs(v) for row in plane for v in row)
            axes.imshow(plane, cmap="RdBu_r", vmin=-top, vmax=top)
            axes.set(title=name, xticks=[], yticks=[], xlabel=f"{len(plane)} x {len(plane)}")
            axes.grid(False)
