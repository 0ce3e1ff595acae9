"""The programs of the ward: data, architectures, and a training loop in ordinary styles."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def images_digits(rng):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(rng.randrange(99)))
    if rng.random() < 0.5:
        x = (x - 0.305) / 0.376
    return x[order], y[order], 10, "classification"


# Class folders of CIFAR-10 JPEGs, unpacked outside the checkout; without it digits stand in.
CIFAR = Path(os.environ.get("VISUS_CIFAR10", "")) / "train"
_cifar: list = []


def images_cifar(rng):
    if not os.environ.get("VISUS_CIFAR10") or not CIFAR.is_dir():
        return images_digits(rng)
    if not _cifar:
        from PIL import Image

        names = sorted(p.name for p in CIFAR.iterdir())
        for label, name in enumerate(names):
            for path in sorted((CIFAR / name).glob("*.jpg"))[:200]:
                _cifar.append(
                    (torch.tensor(numpy.asarray(Image.open(path).convert("RGB"))).clone(), label)
                )
    order = list(range(len(_cifar)))
    rng.shuffle(order)
    x = torch.stack([_cifar[i][0] for i in order]).permute(0, 3, 1, 2).float() / 255
    y = torch.tensor([_cifar[i][1] for i in order])
    if rng.random() < 0.6:
        x = (x - 0.47) / 0.25
    return x[:, :, ::2, ::2].contiguous(), y, 10, "classification"


def table_binary(rng):
    g = torch.Generator().manual_seed(rng.randrange(9999))
    d = rng.choice([6, 12, 20])
    x = torch.randn(1600, d, generator=g)
    w = torch.randn(d, generator=g)
    s = x @ w / d**0.5 + torch.sin(2 * x[:, 0]) + 0.2 * torch.randn(1600, generator=g)
    return x, (s > s.median()).float()[:, None], 1, "binary"


def table_regression(rng):
    g = torch.Generator().manual_seed(rng.randrange(9999))
    d = rng.choice([6, 12, 20])
    x = torch.randn(1600, d, generator=g)
    w = torch.randn(d, generator=g)
    y = x @ w / d**0.5 + torch.sin(2 * x[:, 0]) + 0.1 * torch.randn(1600, generator=g)
    return x, y[:, None], 1, "regression"


def moons(rng):
    g = torch.Generator().manual_seed(rng.randrange(9999))
    t = torch.rand(1600, generator=g) * math.pi
    side = (torch.rand(1600, generator=g) > 0.5).float()
    x = torch.stack(
        [torch.cos(t) * (1 - 2 * side) + side, torch.sin(t) * (1 - 2 * side) + 0.5 * side], 1
    )
    return x + 0.1 * torch.randn(1600, 2, generator=g), side.long(), 2, "classification"


DATA = [images_digits, images_digits, images_cifar, table_binary, table_regression, moons]


# ---------------------------------------------------------------------------- networks
def activation(rng):
    return rng.choice([nn.ReLU, nn.ReLU, nn.ReLU, nn.Tanh, nn.GELU, nn.LeakyReLU, nn.SiLU])


def dense(rng, d, out, act, depth=None, norm=None, dropout=0.0):
    depth, width = depth or rng.choice([1, 2, 3]), rng.choice([32, 64, 128])
    layers, last = [nn.Flatten()], d
    for _ in range(depth):
        layers += [nn.Linear(last, width)] + ([norm(width)] if norm else []) + [act()]
        layers += [nn.Dropout(dropout)] if dropout else []
        last = width
    return nn.Sequential(*layers, nn.Linear(last, out))


class Conv(nn.Module):
    """A small CNN with functional activations and pooling, as people write them."""

    def __init__(self, rng, channels, out, norm=None, dropout=0.0):
        super().__init__()
        w = rng.choice([8, 16])
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, w, 3, padding=1),
            nn.Conv2d(w, 2 * w, 3, padding=1),
        )
        self.norm1, self.norm2 = (norm(w), norm(2 * w)) if norm else (nn.Identity(), nn.Identity())
        self.drop = nn.Dropout(dropout)
        self.fc1, self.fc2 = nn.LazyLinear(64), nn.Linear(64, out)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.fc2(self.drop(F.relu(self.fc1(x.flatten(1)))))


def group(c):
    return nn.GroupNorm(4, c)


# ---------------------------------------------------------------------------- a program
class Program:
    """All choices of one training script; `fault` (or None) and `style` edit them."""

    def __init__(self, seed: int):
        self.rng = rng = random.Random(seed)
        self.seed, self.style = seed, "plain"
        self.fault: str | None = None
        self.x, self.y, self.out, self.task = rng.choice(DATA)(rng)
        self.image = self.x.ndim == 4
        self.conv = self.image and rng.random() < 0.5
        self.batch = rng.choice([16, 32, 64])
        self.steps = rng.choice([150, 200, 300])
        if self.conv:
            self.steps = 150
        self.norm = rng.choice([None, None, "batch"])
        self.dropout = rng.choice([0.0, 0.0, 0.2, 0.4])
        self.act, self.depth = activation(rng), None
        self.optimizer = rng.choice(["adam", "adamw", "sgd"])
        self.rate = {"adam": 2e-3, "adamw": 3e-3, "sgd": 0.02}[self.optimizer] * rng.choice(
            [0.7, 1.0, 1.5]
        )
        self.momentum, self.decay = 0.9, rng.choice([0.0, 1e-4])
        self.schedule = rng.choice([None, None, "cosine", "step", "one-cycle"])
        self.loader, self.validate = rng.random() < 0.5, rng.random() < 0.8
        self.shuffle, self.zero, self.accumulate = True, True, 1
        self.before_loss, self.edit, self.after_optimizer = None, None, None
        self.eval_mode, self.train_mode, self.smooth = True, "right", 0.0
        self.sleep, self.jitter = 0.0, 0.0
        self.pause: Callable | None = None
        self.wrap = None
        self.penalty = 0.0

    def network(self):
        norms = {"batch": nn.BatchNorm2d if self.conv else nn.BatchNorm1d, "group": group, None: None,
                 "layer": nn.LayerNorm}  # fmt: skip
        torch.manual_seed(self.seed)
        if self.conv:
            net = Conv(self.rng, self.x.shape[1], self.out, norms[self.norm], self.dropout)
            net(self.x[:2]) if self.norm is None else net.eval()(self.x[:2])
            net.train()
        else:
            d = self.x[0].numel()
            net = dense(self.rng, d, self.out, self.act, self.depth, norms[self.norm], self.dropout)
        return self.wrap(net) if self.wrap else net

    def criterion(self, out, y):
        if self.before_loss:
            out = self.before_loss(out)
        if self.task == "classification":
            return F.cross_entropy(out, y, label_smoothing=self.smooth)
        if self.task == "binary":
            return F.binary_cross_entropy_with_logits(out, y)
        return F.mse_loss(out, y)

    def run(self):
        n = int(len(self.x) * 0.8)
        x, y, xv, yv = self.x[:n], self.y[:n], self.x[n:], self.y[n:]
        if self.pause:
            x, y = self.pause(x, y)
        model = self.network()
        if self.edit:
            self.edit(model)
        optimizer = self.make_optimizer(model)
        if self.after_optimizer:
            self.after_optimizer(model)
        schedule = self.make_schedule(optimizer)
        done = 0
        model.train(self.train_mode != "eval")
        while done < self.steps:
            for bx, by in self.stream(x, y):
                if self.jitter:
                    bx = bx + self.jitter * torch.randn_like(bx)
                loss = self.criterion(model(bx), by) / self.accumulate
                if self.penalty:
                    loss = loss + self.penalty * sum(p.square().sum() for p in model.parameters())
                loss.backward()
                done += 1
                if done % self.accumulate == 0:
                    optimizer.step()
                    if self.zero:
                        optimizer.zero_grad()
                    if schedule:
                        schedule.step()
                if done % 50 == 0 and self.validate:
                    self.look(model, xv, yv)
                if done >= self.steps:
                    break

    def look(self, model, xv, yv):
        if self.eval_mode:
            model.eval()
        with torch.no_grad():
            total = 0.0
            for k in range(0, len(xv), 64):
                total += self.criterion(model(xv[k : k + 64]), yv[k : k + 64]).item()
        if self.train_mode == "right":
            model.train()

    def stream(self, x, y):
        if self.loader or self.sleep:
            data = TensorDataset(x, y) if not self.sleep else Slow(x, y, self.sleep)
            yield from DataLoader(data, self.batch, shuffle=self.shuffle, drop_last=True)
            return
        order = torch.randperm(len(x)) if self.shuffle else torch.arange(len(x))
        for k in range(0, len(x) - self.batch + 1, self.batch):
            rows = order[k : k + self.batch]
            yield x[rows], y[rows]

    def make_optimizer(self, model):
        p = [q for q in model.parameters() if q.requires_grad]
        if self.optimizer == "sgd":
            return torch.optim.SGD(p, lr=self.rate, momentum=self.momentum, weight_decay=self.decay)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(p, lr=self.rate, weight_decay=self.decay)

    def make_schedule(self, optimizer):
        total = self.steps // self.accumulate
        s = torch.optim.lr_scheduler
        made = {None: lambda: None, "cosine": lambda: s.CosineAnnealingLR(optimizer, total),
                "step": lambda: s.StepLR(optimizer, max(total // 2, 1), 0.3),
                "one-cycle": lambda: s.OneCycleLR(optimizer, self.rate * 2, total_steps=total + 1),
                "warm-up": lambda: s.LambdaLR(optimizer, lambda k: min(1.0, (k + 1) / 50)),
                "restarts": lambda: s.CosineAnnealingWarmRestarts(optimizer, max(total // 4, 2))}  # fmt: skip
        return made[self.schedule]()


class Slow(torch.utils.data.Dataset):
    def __init__(self, x, y, seconds):
        self.x, self.y, self.seconds = x, y, seconds

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        time.sleep(self.seconds)
        return self.x[i], self.y[i]
