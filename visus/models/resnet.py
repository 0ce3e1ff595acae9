"""ResNet-18 (He et al. 2016), with torchvision's parameter names so that weights move both ways."""

from __future__ import annotations

from torch import Tensor, nn

from visus.layers import Conv2d, Dropout, Linear, MaxPool2d, activations, norms
from visus.models.table import Width, networks


class BasicBlock(nn.Module):
    """`act(shortcut(x) + norm(conv(act(norm(conv(x))))))`, `(N, cin, H, W)` to `(N, cout, H/s, W/s)`."""

    def __init__(self, cin: int, cout: int, stride: int, norm: str, activation: str):
        super().__init__()
        self.conv1 = Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = norms.make(norm, cout, act=activation)
        self.conv2 = Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = norms.make(norm, cout)
        self.act = activations.make(activation)
        self.downsample = _shortcut(cin, cout, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        return self.act(out + (x if self.downsample is None else self.downsample(x)))


def _shortcut(cin: int, cout: int, stride: int, norm: str) -> nn.Module | None:
    if stride == 1 and cin == cout:
        return None
    return nn.Sequential(Conv2d(cin, cout, 1, stride, bias=False), norms.make(norm, cout))


class ResNet(nn.Module):
    """Stem, four stages of basic blocks, average over the pixels, linear."""

    def __init__(
        self, channels: int, classes: int, size: tuple[int, int], blocks: tuple[int, ...], width: int,
        norm: str, activation: str, dropout: float,
    ):  # fmt: skip
        super().__init__()
        small = max(size) <= 64
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn1 = norms.make(norm, width, act=activation)
        self.maxpool = nn.Identity() if small else MaxPool2d(3, 2, 1)
        cin, self.stages = width, [f"layer{k + 1}" for k in range(len(blocks))]
        for stage, count in enumerate(blocks):
            cout = width * 2**stage
            steps = [1 if stage == 0 else 2] + [1] * (count - 1)
            made = [
                BasicBlock(cin if i == 0 else cout, cout, s, norm, activation)
                for i, s in enumerate(steps)
            ]
            setattr(self, self.stages[stage], nn.Sequential(*made))
            cin = cout
        self.dropout, self.fc = Dropout(dropout), Linear(cin, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(self.dropout(x.mean((2, 3))))


@networks.member
def resnet18(
    channels: int, classes: int, size: tuple[int, int], *, width: Width = 64,
    norm: str = "batch", activation: str = "relu", dropout: float = 0.0,
) -> nn.Module:  # fmt: skip
    """ResNet-18; up to 64 pixels with the 3x3 stem and no pooling, as used on CIFAR."""
    return ResNet(channels, classes, size, (2, 2, 2, 2), width, norm, activation, dropout)
