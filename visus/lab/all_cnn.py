"""Max-pooling against convolutions of stride 2 (All-CNN)."""

from __future__ import annotations

from torch import nn

from visus.lab import experiments
from visus.lab.bench import cnn, fit, images, score, start
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import dots, percent

NAMES = ("max-pool", "strided", "average-pool")


def net(name: str, channels: int, width: int) -> nn.Sequential:
    """The bench's network, its one pool replaced by a 3x3 convolution of stride 2 or a mean."""
    model = cnn(channels, width, 3, "batch")
    at = next(i for i, m in enumerate(model) if isinstance(m, nn.MaxPool2d))
    if name == "strided":
        model[at] = nn.Sequential(
            nn.Conv2d(width, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
    elif name == "average-pool":
        model[at] = nn.AvgPool2d(2)
    return model


@experiments.member
class AllCnn(Experiment):
    topic = "convolution"
    claim = "Convolutions of stride 2 replace max-pooling without loss."
    source = "Springenberg et al. 2015"
    seeds = 15
    quick = Settings(steps=150, width=16, train=1000, data="digits")
    full = Settings(steps=5000, width=96, train=20_000, data="cifar10")
    tiny = Settings(steps=3, width=4)
    inches = (6, 3.2)

    def measure(self, seed, *, steps, width, train, data):
        held = images(seed, train, data=data)
        errors = {}
        for name in NAMES:
            model = start(net(name, held.shape[0], width), seed)
            fit(model, held.x, held.y, steps=steps, rate=0.05, seed=seed)
            errors[name] = score(model, *held.validation)[1]
        return {"data": held.source, **errors}

    def checks(self, runs):
        more = [r["strided"] - r["max-pool"] for r in runs]
        return [Check("error of strided - of max-pool", more, "<", 0.02, percent=True)]

    def draw(self, figure, runs):
        axes = figure.subplots()
        dots(axes, NAMES, [[r[n] for r in runs] for n in NAMES])
        axes.set(title="The same network, halved in three ways", ylabel="validation error")
        percent(axes)
