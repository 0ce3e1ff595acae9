"""The two networks: one that knows what pictures look like, one that paints."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visus.layers import BatchNorm2d, Conv2d, Dropout, Linear, norms


class Features(nn.Module):
    """Pictures `(N, 3, H, W)` in [0, 1] to logits; `stages(x)` gives what it sees at three scales."""

    def __init__(self, classes: int, width: int = 16):
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Conv2d(cin, cout, 3, padding=1, bias=False), BatchNorm2d(cout, act="relu"),
                Conv2d(cout, cout, 3, padding=1, bias=False), BatchNorm2d(cout, act="relu"),
            )
            for cin, cout in itertools.pairwise(sizes)
        )  # fmt: skip
        self.head = nn.Sequential(Dropout(0.1), Linear(sizes[-1], classes))

    def stages(self, x: Tensor) -> list[Tensor]:
        seen = []
        for n, block in enumerate(self.blocks):
            # Averages, not maxima: pictures painted by their gradient are smoother (Gatys 2016).
            x = block(F.avg_pool2d(x, 2) if n else x)
            seen.append(x)
        return seen

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x)[-1].mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, width: int, norm: str):
        super().__init__()
        self.body = nn.Sequential(
            *conv(width, width, 3, norm), *conv(width, width, 3, norm, act="none")
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def conv(cin: int, cout: int, kernel: int, norm: str, *, stride: int = 1, act: str = "relu"):
    """Reflected border, convolution, norm with its activation: a zero border would show as a frame."""
    return [
        nn.ReflectionPad2d(kernel // 2), Conv2d(cin, cout, kernel, stride, bias=False),
        norms.make(norm, cout, act=act),
    ]  # fmt: skip


class Up(nn.Module):
    """Twice the size, by repetition: transposed convolutions leave a checkerboard (Odena 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")


class Painter(nn.Module):
    """A picture in [0, 1] to a painted one of the same size (Johnson et al. 2016, with less of all)."""

    def __init__(self, norm: str, width: int = 16):
        super().__init__()
        w1, w2, w3 = width, 2 * width, 3 * width
        self.body = nn.Sequential(
            *conv(3, w1, 5, norm), *conv(w1, w2, 3, norm, stride=2), *conv(w2, w3, 3, norm, stride=2),
            Residual(w3, norm), Residual(w3, norm), Residual(w3, norm),
            Up(), *conv(w3, w2, 3, norm), Up(), *conv(w2, w1, 3, norm),
            nn.ReflectionPad2d(2), Conv2d(w1, 3, 5),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.body(x * 2 - 1))


def gram(features: Tensor) -> Tensor:
    """How often two channels are seen together, anywhere: `(N, C, H, W)` to `(N, C, C)`."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]
