"""Small models as people write them, with the traps that a fusion can fall into.

Each class says in its docstring which pairs of norm and activation may be fused.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SIZE = (4, 3, 12, 12)


def conv(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class Plain(nn.Sequential):
    """All pairs: they stand side by side in a Sequential."""

    FUSED = 4

    def __init__(self):
        super().__init__(
            conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(),
            conv(8, 8, 2), nn.GroupNorm(4, 8), nn.LeakyReLU(0.2),
            conv(8, 8), nn.InstanceNorm2d(8, affine=True), nn.ELU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 5),
        )  # fmt: skip


class Block(nn.Module):
    """bn1 + relu; the second call of the same relu, after the addition, must stay."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(outputs))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += identity
        return self.relu(y)


class ResNet(nn.Module):
    """The stem and the first norm of each block, as in torchvision."""

    FUSED = 4

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 8), Block(8, 16, 2))
        self.layer2 = nn.Sequential(Block(16, 16))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(x.mean((2, 3)))


class Functional(nn.Module):
    """None: the relu is a function, there is no module to stand aside."""

    FUSED = 0

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = conv(3, 8), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).mean((2, 3)))


class TwoReaders(Functional):
    """None: the norm's output is read by the relu and by the sum."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.bn(self.conv(x))
        return self.fc((self.relu(y) + y).mean((2, 3)))


class Flag(TwoReaders):
    """None: with `features=True` the caller gets the norm's output itself."""

    def forward(self, x, features=False):
        y = self.bn(self.conv(x))
        return y if features else self.fc(self.relu(y).mean((2, 3)))


class TrainingOnly(TwoReaders):
    """None: in training the norm's output is read once more."""

    def forward(self, x):
        y = self.bn(self.conv(x))
        z = self.fc(self.relu(y).mean((2, 3)))
        return z + y.mean() if self.training else z


class Optional(TwoReaders):
    """None: a mask, where it is given, is applied before the relu."""

    def forward(self, x, mask=None):
        y = self.bn(self.conv(x))
        if mask is not None:
            y = y * mask
        return self.fc(self.relu(y).mean((2, 3)))


class Dynamic(TwoReaders):
    """None of its own: what it does depends on the values. The pair of its stem may."""

    FUSED = 1

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 3), nn.BatchNorm2d(3), nn.ReLU())

    def forward(self, x):
        y = self.bn(self.conv(self.stem(x)))
        return self.fc(self.relu(y).mean((2, 3))) if float(x.mean()) < 1e9 else y


class Taps(nn.Module):
    """None: layers of the Sequential are called one by one and the norm's output is kept."""

    FUSED = 0

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 5))

    def forward(self, x):
        kept = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place == 1:
                kept.append(x)
        return x.mean((2, 3)) + kept[0].mean()


class DynamicTaps(Taps):
    """None: the same, where the trace fails."""

    def forward(self, x):
        return super().forward(x) if float(x.mean()) < 1e9 else x


class Shared(nn.Module):
    """None: one norm at two places, of which only one is followed by the relu."""

    FUSED = 0

    def __init__(self):
        super().__init__()
        self.conv, self.again = conv(3, 8), conv(8, 8)
        self.bn, self.relu, self.fc = nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.bn(self.conv(x)))
        return self.fc(self.bn(self.again(x)).mean((2, 3)))


class Listed(nn.Module):
    """All pairs: a loop over a ModuleList of blocks, with an Identity in between as in timm."""

    FUSED = 2

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([self.block(3), self.block(8)])
        self.head = nn.Linear(8, 5)

    @staticmethod
    def block(inputs):
        return nn.Sequential(conv(inputs, 8), nn.BatchNorm2d(8), nn.Identity(), nn.ReLU())

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class MyNorm(nn.BatchNorm2d):
    """A subclass: nobody knows what it does."""

    def forward(self, x):
        return super().forward(x) * 2


class MyReLU(nn.ReLU):
    """A subclass of an activation."""


class Custom(nn.Sequential):
    """None: a subclass of a norm and a subclass of an activation are left alone."""

    FUSED = 0

    def __init__(self):
        super().__init__(conv(3, 8), MyNorm(8), nn.ReLU(), conv(8, 5), nn.BatchNorm2d(5), MyReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip


class Tokens(nn.Module):
    """None: layer norms over the last axis, as in a transformer."""

    FUSED = 0

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(12, 16), nn.LayerNorm(16)
        self.head = nn.Sequential(nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5))

    def forward(self, x):
        x = self.norm(self.embed(x.flatten(1, 2)))
        return self.head(x).mean(1)


class Side(nn.Module):
    """One pair; its forward leaves traces on the module, which a trace must not."""

    FUSED = 1

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 5), nn.BatchNorm2d(5), nn.ReLU())
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.log, self.last = [], None

    def forward(self, x):
        self.calls += 1
        self.log.append("call")
        self.last = x
        x = x + 0 * torch.rand(1)
        print("forward")
        return self.body(x).mean((2, 3))


MODELS = [
    Plain, ResNet, Functional, TwoReaders, Flag, TrainingOnly, Optional, Dynamic, Taps,
    DynamicTaps, Shared, Listed, Custom, Tokens, Side,
]  # fmt: skip


def make(cls, seed=0, dtype=torch.float32):
    """The model with weights and running moments that are not the defaults."""
    torch.manual_seed(seed)
    model = cls()
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "num_features", None) or hasattr(module, "num_groups"):
                for tensor in (*module.parameters(), *module.buffers()):
                    if tensor.is_floating_point():
                        tensor.copy_(torch.rand_like(tensor) + 0.5)
    return model.to(dtype)
