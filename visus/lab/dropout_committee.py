"""Dropout at test: one network with halved weights against a committee of random sub-networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, mlp, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band, percent

MEMBERS = (1, 2, 5, 10, 20, 50)


@experiments.member
class DropoutCommittee(Experiment):
    topic = "regularization"
    claim = "Dropout trains a committee of sub-networks; the whole network at test does what their vote does."
    source = "Srivastava et al. 2014, section 7.5"
    quick = Settings(steps=400, width=96, train=500, data="digits")
    full = Settings(steps=5000, width=1024, train=20_000, data="cifar10")
    tiny = Settings(steps=3, width=8)
    inches = (6, 3.2)

    def measure(self, seed, *, steps, width, train, data):
        held = images(seed, train, data=data)
        plain = mlp(held.x[0].numel(), width, 2)
        model = start(nn.Sequential(*list(plain)[:-1], nn.Dropout(0.5), plain[-1]), seed)
        model.insert(3, nn.Dropout(0.5))
        fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed)
        x, y = held.validation
        model.train()
        with torch.no_grad():
            votes = torch.stack([model(x).softmax(1) for _ in range(MEMBERS[-1])])
        errors = [float((votes[:n].mean(0).argmax(1) != y).float().mean()) for n in MEMBERS]
        return {"data": held.source, "votes": errors, "whole": score(model, x, y)[1]}

    def checks(self, runs):
        off = [abs(r["whole"] - r["votes"][-1]) for r in runs]
        gain = [r["votes"][0] - r["whole"] for r in runs]
        return [
            Check(f"|error of the whole - of {MEMBERS[-1]} voters|", off, "<", 0.02, percent=True),
            Check("error of one sub-network - of the whole", gain, ">", 0.0, percent=True),
        ]

    def draw(self, figure, runs):
        axes = figure.subplots()
        band(
            axes,
            MEMBERS,
            [r["votes"] for r in runs],
            color=ORANGE,
            marker="o",
            label="vote of n sub-networks",
        )
        whole = float(np.median([r["whole"] for r in runs]))
        axes.axhline(whole, color=BLUE, label="the whole network")
        axes.set(
            title="Dropout as a committee",
            xlabel="sub-networks that vote",
            ylabel="validation error",
            xscale="log",
            ylim=(0, None),
        )
        axes.set_xticks(MEMBERS, MEMBERS)
        axes.minorticks_off()
        percent(axes)
        axes.legend()
