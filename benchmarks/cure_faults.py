"""Sixty ways to break a recipe, drawn by a seed, and the three data sets that they are tried on.

A fault is a function of a random generator and the data's name: edits of the recipe, and a
change of the training images where the fault is one of data, which returns the edits of a cure
that knows everything. Strengths are drawn, not chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visus.family import Family

faults = Family("fault")
Arrays = dict[str, Any]
BASE = (
    "model=cnn", "model.width=16", "training.threads=1", "training.precision=float32",
    "training.checkpoint_every=none",
)  # fmt: skip
EPOCHS = {"digits": 10, "cifar": 6, "gratings": 10}
OWN = {"gratings": ("jitter=none",)}  # a mirrored grating is one of another class


@dataclass(frozen=True)
class Case:
    """One broken recipe: its name, the data, the edits, what is done to the training images."""

    name: str
    data: str
    edits: tuple[str, ...]
    harm: Callable[[Arrays, np.random.Generator], Any] | None = None


def cases(count: int = 60, seed: int = 0) -> list[Case]:
    """`count` faults, every kind about equally often, on data sets in turn."""
    draw, made = np.random.default_rng(seed), []
    kinds: list[str] = []
    while len(kinds) < count:
        kinds += [str(k) for k in draw.permutation(sorted(faults))]
    for n, kind in enumerate(kinds[:count]):
        data = list(EPOCHS)[n % 3]
        edits, harm = faults[kind](draw)
        made.append(Case(f"{n:02d} {kind}", data, tuple(edits), harm))
    return made


def _power(draw: np.random.Generator, low: float, high: float) -> float:
    return float(10 ** draw.uniform(low, high))


@faults.member
def rate_too_large(draw):
    return [f"optimizer.rate={0.025 * _power(draw, 1.5, 2.5):.3g}"], None


@faults.member
def rate_too_small(draw):
    return [f"optimizer.rate={0.025 * _power(draw, -3, -1.5):.3g}"], None


@faults.member
def adam_rate_too_large(draw):
    return ["optimizer.name=adamw", f"optimizer.rate={0.0015 * _power(draw, 1.5, 2.5):.3g}"], None


@faults.member
def adam_rate_too_small(draw):
    return ["optimizer.name=adamw", f"optimizer.rate={0.0015 * _power(draw, -3, -1.5):.3g}"], None


@faults.member
def momentum_too_high(draw):
    return [f"optimizer.momentum={draw.uniform(0.985, 0.999):.4f}", "optimizer.rate=0.025"], None


@faults.member
def sigmoid_without_norm(draw):
    return ["model.activation=sigmoid", "model.norm=none"], None


@faults.member
def no_nonlinearity(draw):
    return ["model.activation=none"], None


@faults.member
def init_zero(draw):
    return ["init=zero"], None


@faults.member
def init_tiny(draw):
    return ["init.name=normal", f"init.std={_power(draw, -5, -3):.2g}", "model.norm=none"], None


@faults.member
def init_huge(draw):
    return ["init.name=normal", f"init.std={draw.uniform(0.5, 2):.3g}", "model.norm=none"], None


@faults.member
def nothing_normalized(draw):
    return ["normalization=none", "model.norm=none"], None


@faults.member
def instance_norm(draw):
    return ["model.norm=instance"], None


@faults.member
def decay_too_strong(draw):
    return [f"regularization.l2={_power(draw, -1.3, 0):.2g}"], None


@faults.member
def sparsity_too_strong(draw):
    return [f"regularization.l1={_power(draw, -2.5, -1):.2g}"], None


@faults.member
def dropout_too_strong(draw):
    return [f"model.dropout={draw.uniform(0.85, 0.97):.2f}"], None


@faults.member
def smoothing_too_strong(draw):
    return [f"loss.label_smoothing={draw.uniform(0.85, 0.98):.2f}"], None


@faults.member
def jitter_too_strong(draw):
    return [
        "jitter={affine = {degrees = 180.0, scale = 0.8, shift = 0.5}, cutout = {size = 0.9}}"
    ], None


@faults.member
def average_too_long(draw):
    return [f"training.ema={1 - _power(draw, -4.5, -3.3):.6f}"], None


@faults.member
def batch_too_large(draw):
    return [f"training.batch_size={int(draw.integers(500, 1000))}", "optimizer.rate=0.025"], None


@faults.member
def warm_up_too_long(draw):
    return [f"schedule.warmup={draw.uniform(0.95, 0.99):.2f}", "schedule.start=0.0001"], None


@faults.member
def drops_too_early(draw):
    return [
        "schedule={name = 'step', drops = [0.01, 0.02], factor = 0.01}",
        "optimizer.rate=0.025",
    ], None


@faults.member
def clipped_to_nothing(draw):
    return [f"training.clip={_power(draw, -4, -3):.2g}", "optimizer.rate=0.025"], None


@faults.member
def too_narrow(draw):
    return [f"model.width={int(draw.integers(1, 3))}"], None


@faults.member
def linear_model(draw):
    return ["model={name = 'linear'}"], None


@faults.member
def deep_sigmoid(draw):
    return [
        "model={name = 'mlp', width = 32, depth = 10, norm = 'none', activation = 'sigmoid'}"
    ], None


@faults.member
def wrong_loss(draw):
    return ["loss=l1", "optimizer.rate=0.025"], None


@faults.member
def three_at_once(draw):
    return [
        "optimizer.rate=2.5",
        "model.activation=sigmoid",
        "normalization=none",
        "model.norm=none",
    ], None


@faults.member
def wrong_labels(draw):
    share = draw.uniform(0.35, 0.5)

    def harm(arrays: Arrays, own: np.random.Generator) -> list[str]:
        y = arrays["y_train"]
        rows = own.permutation(len(y))[: int(share * len(y))]
        classes = np.unique(y)
        right = y.copy()
        y[rows] = own.choice(classes, len(rows))
        return [f"training.quarantine={[f'train-{i:06d}' for i in np.flatnonzero(y != right)]}"]

    return [], harm


@faults.member
def rare_classes(draw):
    keep = int(draw.integers(6, 12))

    def harm(arrays: Arrays, own: np.random.Generator) -> list[str]:
        y, rows = arrays["y_train"], []
        for k in np.unique(y):
            own_rows = np.flatnonzero(y == k)
            rows += list(own_rows if k % 2 == 0 else own_rows[:keep])
        arrays["x_train"], arrays["y_train"] = arrays["x_train"][rows], y[rows]
        return ["training.balance=sampling"]

    return [], harm


# The data: arrays with fixed parts, so that a fault of the training images leaves validation whole.


def arrays(name: str, folder: Path) -> Arrays:
    """x_train, y_train, x_val, ... of one of the three data sets."""
    x, y = {"digits": _digits, "cifar": _cifar, "gratings": _gratings}[name](folder)
    order = np.random.default_rng(7).permutation(len(y))
    x, y = x[order], y[order]
    cut = [{"digits": 1000, "cifar": 1900, "gratings": 1000}[name], len(y) - 200]
    parts = zip(("train", "val", "test"), np.split(np.arange(len(y)), cut), strict=True)
    return {f"{a}_{p}": v[rows] for p, rows in parts for a, v in (("x", x), ("y", y))}


def _digits(folder: Path):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)  # type: ignore[misc]
    return (x.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8), y.astype(np.int64)


def _cifar(folder: Path):
    from PIL import Image

    x, y = [], []
    for k, name in enumerate(("airplane", "automobile", "frog", "horse")):
        paths = sorted((folder / "train" / name).iterdir())[:775]
        x += [np.asarray(Image.open(p).convert("RGB").resize((16, 16))) for p in paths]
        y += [k] * len(paths)
    return np.stack(x), np.array(y)


def _gratings(folder: Path):
    """Six directions of a faint wave in noise, at any phase, in three channels of low contrast."""
    draw = np.random.default_rng(3)
    y = draw.integers(0, 6, 2200)
    u, v = np.meshgrid(np.arange(12), np.arange(12))
    angle, phase = np.pi * y / 6, draw.uniform(0, 2 * np.pi, len(y))
    along = u * np.cos(angle)[:, None, None] + v * np.sin(angle)[:, None, None]
    wave = np.sin(1.3 * along + phase[:, None, None])[..., None]
    noise = draw.normal(0, 3.0, (*wave.shape[:3], 3))
    return (128 + 6 * (wave + noise)).clip(0, 255).round().astype(np.uint8), y
