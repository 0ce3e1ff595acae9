"""Small data sets with the face of `visus.data.Dataset`, for the tests of training alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


class Images:
    """An ImageSet over a uint8 tensor `(n, C, H, W)`."""

    def __init__(self, pixels: Tensor, targets: Tensor):
        self.pixels, self.targets = pixels, targets
        self.names = [f"image-{i}" for i in range(len(targets))]

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> Tensor:
        return self.pixels[indices]


@dataclass
class Tiny:
    """Train and validation images, and what else a data set tells."""

    train: Images
    validation: Images
    classes: list[str]
    name: str = "tiny"
    vault: tuple = ()
    mean: list[float] = field(init=False)
    std: list[float] = field(init=False)

    def __post_init__(self) -> None:
        pixels = self.train.pixels.double() / 255
        self.channels, self.size = pixels.shape[1], tuple(pixels.shape[2:])
        self.mean = pixels.mean((0, 2, 3)).tolist()
        self.std = pixels.std((0, 2, 3)).tolist()


def blobs(n: int = 64, held: int = 32, classes: int = 3, side: int = 8, channels: int = 1) -> Tiny:
    """Classes that differ by a bright quarter of the image, with noise: learned in a few steps."""
    draw = torch.Generator().manual_seed(1)
    targets = torch.randint(classes, (n + held,), generator=draw)
    pixels = torch.randint(0, 120, (n + held, channels, side, side), generator=draw)
    half = side // 2
    for k in range(classes):
        rows, columns = divmod(k, 2)
        window = pixels[targets == k]
        window[:, :, rows * half : (rows + 1) * half, columns * half : (columns + 1) * half] += 100
        pixels[targets == k] = window
    pixels = pixels.to(torch.uint8)
    names = [f"class-{k}" for k in range(classes)]
    return Tiny(Images(pixels[:n], targets[:n]), Images(pixels[n:], targets[n:]), names)


def write_images(data: Tiny, path: str) -> None:
    """Keep a data set in one safetensors file, for another process."""
    from safetensors.torch import save_file

    parts = {"train": data.train, "validation": data.validation}
    tensors = {f"{k}.pixels": v.pixels for k, v in parts.items()}
    save_file(tensors | {f"{k}.targets": v.targets for k, v in parts.items()}, path)


def read_images(path: str) -> Tiny:
    """What `write_images` kept; class names are the numbers of the classes."""
    from safetensors.torch import load_file

    held = load_file(path)
    parts = [Images(held[f"{k}.pixels"], held[f"{k}.targets"]) for k in ("train", "validation")]
    return Tiny(*parts, [str(k) for k in range(int(held["train.targets"].max()) + 1)])


def digits() -> Tiny:
    """The 1,797 real 8x8 digits of scikit-learn, 300 of them for validation."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = torch.tensor(found.images * 255 / 16).round().to(torch.uint8)[:, None]
    targets = torch.tensor(found.target, dtype=torch.int64)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    held, kept = order[:300], order[300:]
    names = [str(k) for k in range(10)]
    return Tiny(Images(pixels[kept], targets[kept]), Images(pixels[held], targets[held]), names)
