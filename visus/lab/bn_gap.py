"""Train against test mode of the same weights, by batch size."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import cnn, fit, images, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import BLUE, ORANGE, band

SIZES = (2, 4, 8, 16, 32, 64)


@torch.no_grad()
def as_trained(model: nn.Module, x, y, batch: int) -> float:
    """The mean loss with the statistics of batches of that size, running averages untouched."""
    model = copy.deepcopy(model).train()
    losses = [
        nn.functional.cross_entropy(model(a), b)
        for a, b in zip(x.split(batch), y.split(batch), strict=True)
        if len(a) == batch
    ]
    return float(torch.stack(losses).mean())


@experiments.member
class BnGap(Experiment):
    topic = "batch norm"
    claim = "The smaller the batch, the further batch norm in training is from batch norm in test."
    source = "Ioffe 2017, section 3"
    quick = Settings(samples=5000, width=16, train=1000, data="digits")
    full = Settings(samples=200_000, width=64, train=20_000, data="cifar10")
    tiny = Settings(samples=64, width=4)
    inches = (6.5, 3.3)

    def measure(self, seed, *, samples, width, train, data):
        held = images(seed, train, data=data)
        found: dict[str, Any] = {"data": held.source, "train": [], "eval": []}
        for size in SIZES:
            model = start(cnn(held.shape[0], width, 2, "batch"), seed)
            fit(
                model,
                held.x,
                held.y,
                steps=max(samples // size, 1),
                rate=0.02 * size**0.5,
                batch=size,
                seed=seed,
            )
            found["train"].append(as_trained(model, *held.validation, size))
            found["eval"].append(score(model, *held.validation)[0])
        return found

    def checks(self, runs):
        gap = np.array([np.abs(np.subtract(r["train"], r["eval"])) for r in runs])
        return [
            Check(
                "gap of the loss at batches of 2 / of 64",
                (gap[:, 0] / gap[:, -1]).tolist(),
                ">",
                1.0,
                ratio=True,
            )
        ]

    def draw(self, figure, runs):
        axes = figure.subplots()
        band(
            axes,
            SIZES,
            [r["train"] for r in runs],
            color=ORANGE,
            marker="o",
            label="statistics of the batch (train)",
        )
        band(
            axes,
            SIZES,
            [r["eval"] for r in runs],
            color=BLUE,
            marker="o",
            label="running averages (test)",
        )
        axes.set(
            title="The same weights on the same validation images",
            xlabel="batch size",
            ylabel="cross entropy (nats)",
            yscale="log",
        )
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, SIZES)
        axes.legend()
