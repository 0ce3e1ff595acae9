"""Batch, group, layer and instance norm by the size of the batch, the same number of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from visus.lab import experiments
from visus.lab.bench import fit, images, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS, band, percent
from visus.layers import norms

NORMS = {"batch": {}, "group": {"groups": 4}, "layer": {}, "instance": {}}
SIZES = (2, 4, 8, 32)


def net(channels: int, width: int, norm: str, **options: Any) -> nn.Sequential:
    """Three convolutions, halved in between: a channel has few values, as deep in a large network."""
    layers: list[nn.Module] = []
    for i in range(3):
        conv = nn.Conv2d(width if i else channels, width, 3, padding=1, bias=False)
        layers += [nn.MaxPool2d(2)] if i else []
        layers += [conv, norms.make(norm, width, act="relu", **options)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


@experiments.member
class NormBatchSize(Experiment):
    topic = "norms"
    claim = "Batch norm suffers from batches of 2 to 4; group norm does not care."
    source = "Wu & He 2018, figure 1"
    seeds = 6
    # Noise and few images make the digits hard: without them every norm reaches 2 to 3 % at every
    # size, and the claim cannot be told from its opposite (measured: 10,000 images without noise).
    quick = Settings(samples=6000, width=16, noise=1.0, train=800, data="digits")
    full = Settings(samples=200_000, width=64, noise=0.0, train=20_000, data="cifar10")
    tiny = Settings(samples=64, width=4)
    inches = (7, 3.4)

    def measure(self, seed, *, samples, width, noise, train, data):
        held, generator = images(seed, train, data=data), torch.Generator().manual_seed(seed)
        seen, answers = held.validation
        seen = seen + noise * torch.randn(seen.shape, generator=generator).to(seen.device)
        found: dict[str, Any] = {"data": held.source}
        for name, options in NORMS.items():
            found[name] = []
            for size in SIZES:
                model = start(net(held.shape[0], width, name, **options), seed)
                # The rate grows with the batch, as in the source: 0.1 at 32.
                fit(
                    model,
                    held.x,
                    held.y,
                    steps=samples // size,
                    rate=0.1 * size / 32,
                    batch=size,
                    seed=seed,
                    jitter=lambda x: x + noise * torch.randn_like(x),
                )
                found[name].append(score(model, seen, answers)[1])
        return found

    def checks(self, runs):
        at = SIZES.index(8)  # beyond it steps are so few that group norm is not done
        rise = {n: [r[n][0] - r[n][at] for r in runs] for n in ("batch", "group")}
        more = [a - b for a, b in zip(rise["batch"], rise["group"], strict=True)]
        return [
            Check("error of batch norm at 2 - at 8", rise["batch"], ">", 0.0, percent=True),
            Check("error of group norm at 2 - at 8", rise["group"], "<", 0.03, percent=True),
            Check("rise of batch norm - rise of group norm", more, ">", 0.0, percent=True),
        ]

    def draw(self, figure, runs):
        axes = figure.subplots()
        for name, color in zip(NORMS, COLORS, strict=False):
            band(
                axes, SIZES, [r[name] for r in runs], color=color, marker="o", label=f"{name} norm"
            )
        axes.set(
            title="As many images seen at each size of the batch: large batches make few steps",
            xlabel="batch size",
            ylabel="validation error",
            ylim=(0, None),
        )
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, SIZES)
        percent(axes)
        axes.legend()
