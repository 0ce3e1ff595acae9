"""What experiments share: images, small networks, the loop. All a function of the seed."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from visus.layers import inits, norms, parameter_groups

SCORED = 2000  # images in one forward pass of `score`: thousands at full width fill a memory


class Images(NamedTuple):
    """Normalized images `(N, C, H, W)` and classes `(N)` of three sets, and where they are from."""

    x: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    source: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    return found.images[:, None].astype("float32") / 16, found.target


@cache
def _archive(path: Path, each: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `each` training images of every class folder of an archive, uint8."""
    from PIL import Image

    held: dict[str, list[np.ndarray]] = {}
    with tarfile.open(path) as archive:
        for item in archive:
            parts = Path(item.name).parts
            if "train" not in parts or not item.isfile() or len(held.get(parts[-2], ())) >= each:
                continue
            raw = archive.extractfile(item)
            assert raw is not None
            held.setdefault(parts[-2], []).append(np.asarray(Image.open(io.BytesIO(raw.read()))))
    x = np.stack([image for name in sorted(held) for image in held[name]])
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    return x, np.repeat(np.arange(len(held)), [len(held[name]) for name in sorted(held)])


def images(seed: int, train: int = 1000, validation: int | None = None, data: str = "digits") -> Images:  # fmt: skip
    """A random division of digits, or of "mnist" / "cifar10" where VISUS_DATA holds the archive.

    `validation`: that many; None: an eighth of `train`, but 300 at least. The rest is test. Real
    photographs are asked for by the full size: they lie on the GPU where there is one.
    """
    held_out = max(300, train // 8) if validation is None else validation
    path = Path(os.environ.get("VISUS_DATA", "")) / f"{data}.tar.xz"
    source = data if data != "digits" and path.is_file() else "digits"
    enough = -(-(train + 2 * held_out) // 1000) * 100  # of each of ten classes
    x, y = _digits() if source == "digits" else _archive(path, enough)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = torch.from_numpy(x[order]), torch.from_numpy(y[order]).long()
    if data != "digits" and torch.cuda.is_available():
        x, y = x.cuda(), y.cuda()
    x = x.float() if source == "digits" else x.float() / 255
    train = min(train, len(x) - 2 * held_out)
    mean, std = x[:train].mean((0, 2, 3), keepdim=True), x[:train].std((0, 2, 3), keepdim=True)
    x, end = (x - mean) / std, train + held_out
    return Images(x[:train], y[:train], (x[train:end], y[train:end]), (x[end:], y[end:]), source)


def act(name: str) -> nn.Module:
    from visus.layers import activations

    return activations.make(name)


def mlp(inputs: int, width: int, depth: int, activation: str = "relu", bn: bool = False, outputs: int = 10) -> nn.Sequential:  # fmt: skip
    """`depth` hidden layers of one width, each linear (norm) activation."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(depth):
        layers.append(nn.Linear(inputs if i == 0 else width, width))
        layers += [nn.BatchNorm1d(width)] if bn else []
        layers.append(act(activation))
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def cnn(channels: int, width: int = 16, depth: int = 3, norm: str = "none", classes: int = 10, **options: Any) -> nn.Sequential:  # fmt: skip
    """3x3 convolutions with norm and ReLU, 2x2 max-pool after the first, mean over the image."""
    layers: list[nn.Module] = []
    for i in range(depth):
        conv = nn.Conv2d(channels if i == 0 else width, width, 3, padding=1, bias=norm == "none")
        layers += [conv, norms.make(norm, width, act="relu", **options)]
        layers += [nn.MaxPool2d(2)] if i == 0 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def start(model: nn.Sequential, seed: int, init: str = "he", **options: Any) -> nn.Sequential:
    """The model with fresh weights of `seed`."""
    torch.manual_seed(seed)
    inits.make(init, model, **options)
    return model


def batches(n: int, size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """`steps` batches of indices: one shuffled pass after the other; the last short one is left out."""
    generator, order = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long)
    size = min(size, n)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(n, generator=generator)
        yield order[:size]
        order = order[size:]


def fit(
    model: nn.Module, x: Tensor, y: Tensor, *, steps: int, rate: float, batch: int = 64, seed: int = 0,
    momentum: float = 0.9, decay: float = 0.0, loss: Callable[..., Tensor] = nn.functional.cross_entropy,
    each: Callable[[int, float], Any] | None = None, jitter: Callable[[Tensor], Tensor] | None = None,
    flat: bool = False,
) -> list[float]:  # fmt: skip
    """Train where `x` lies by SGD with a cosine schedule (`flat`: constant rate); the losses."""
    torch.manual_seed(seed)
    model.to(x.device)
    optimizer = torch.optim.SGD(list(parameter_groups(model, rate, decay)), rate, momentum)
    first = [group["lr"] for group in optimizer.param_groups]
    history: list[float] = []
    model.train()
    for step, rows in enumerate(batches(len(x), batch, steps, seed)):
        rows = rows.to(x.device)
        if not flat:
            for group, start_rate in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = start_rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        images = x[rows] if jitter is None else jitter(x[rows])
        optimizer.zero_grad()
        value = loss(model(images), y[rows])
        value.backward()
        optimizer.step()
        history.append(float(value.detach()))
        if each is not None:
            each(step, history[-1])
    return history


@torch.no_grad()
def score(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """(loss, error) in eval mode; a loss that is no number counts as error of chance."""
    was = model.training
    model.to(x.device).eval()
    z = torch.cat([model(part) for part in x.split(SCORED)])
    model.train(was)
    return float(nn.functional.cross_entropy(z, y)), float((z.argmax(1) != y).float().mean())
