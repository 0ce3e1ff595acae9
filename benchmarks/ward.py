"""How often does the doctor name the right cause, and how often does it cry wolf?

Draws programs (data x architecture x optimizer x fault x strength, and healthy ones of many
styles), runs each under the doctor and under two sets of published thresholds, and prints
recall, precision, first-cause accuracy, false alarms and overhead. Programs with an even
number are for tuning the rules, those with an odd number are only observed.

    python benchmarks/ward.py --n 120 --half observed [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from visus.doctor import Doctor


# ---------------------------------------------------------------------------- data
def images_digits(rng):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(rng.randrange(99)))
    if rng.random() < 0.5:
        x = (x - 0.305) / 0.376
    return x[order], y[order], 10, "classification"


CIFAR = Path("/work/data/train")
_cifar: list = []


def images_cifar(rng):
    if not CIFAR.is_dir():
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
        self.seed, self.fault, self.style = seed, None, "plain"
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
        self.sleep, self.jitter, self.pause = 0.0, 0.0, None
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


# ---------------------------------------------------------------------------- faults
def weights(model):
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def scaled(std):
    def edit(model):
        for m in weights(model)[:-1]:
            nn.init.normal_(m.weight, std=std / (m.weight[0].numel() ** 0.5))

    return edit


def constant(model):
    for m in weights(model):
        nn.init.constant_(m.weight, 0.02)


def fault_input(p):
    # a linear scale that no normalization undoes
    k, p.norm = p.rng.choice([100.0, 255.0, 30.0]), None
    p.x = p.x * k + p.rng.choice([0, k])


def fault_labels(p):
    if p.task == "classification" or p.task == "binary":
        p.y = p.y + 1
    else:
        p.y = p.y.clone()
        p.y[:: p.rng.choice([5, 50])] = math.nan


def fault_imbalance(p):
    if p.task == "regression":
        p.x, p.y, p.out, p.task = table_binary(p.rng)
        p.image = p.conv = False
    rare = (p.y.flatten() == (1 if p.out <= 2 else p.rng.randrange(10))).nonzero()[:, 0]
    keep = torch.ones(len(p.y), dtype=torch.bool)
    keep[rare[len(rare) // p.rng.choice([12, 20, 30]) + 3 :]] = False
    p.x, p.y = p.x[keep], p.y[keep]


def fault_shuffle(p):
    def pause(x, y):
        order = y.flatten().argsort(stable=True)
        return x[order], y[order]

    p.pause, p.shuffle = pause, False


def fault_noise(p):
    p.y = p.y[torch.randperm(len(p.y), generator=torch.Generator().manual_seed(p.seed))]


def fault_symmetric(p):
    p.edit, p.dropout = constant, 0.0


def fault_small(p):
    p.edit, p.norm, p.depth = scaled(p.rng.choice([1e-3, 1e-2])), None, 3


def fault_large(p):
    p.edit, p.norm, p.depth = scaled(p.rng.choice([8.0, 15.0])), None, p.rng.choice([2, 3])


def fault_dead(p):
    p.act, p.norm = nn.ReLU, None

    def edit(model):
        nn.init.constant_(weights(model)[-2].bias, -p.rng.choice([8.0, 20.0]))

    p.edit = edit


def fault_saturated(p):
    p.conv, p.act, p.norm, p.depth = False, p.rng.choice([nn.Tanh, nn.Sigmoid]), None, 2

    def edit(model):
        for m in weights(model)[:-1]:
            nn.init.constant_(m.bias, p.rng.choice([9.0, -9.0]))

    p.edit = edit


def fault_vanishing(p):
    p.conv, p.act, p.norm, p.depth, p.dropout = False, nn.Sigmoid, None, p.rng.choice([6, 8]), 0.0
    p.optimizer, p.rate = "sgd", 0.05


def fault_norm_batch(p):
    p.norm, p.batch = "batch", p.rng.choice([2, 3, 4])


def fault_norm_gap(p):
    p.norm, p.dropout = "batch", 0.0

    def edit(model):
        for m in model.modules():
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.momentum = p.rng.choice([0.0, 1e-4])

    p.edit = edit


def fault_mode(p):
    p.dropout, p.validate = 0.3, True
    if p.rng.random() < 0.5:
        p.train_mode = "eval"
    else:
        p.eval_mode = False


def fault_range(p):
    if p.task == "classification":
        p.before_loss = p.rng.choice([torch.relu, torch.tanh])
    elif p.task == "binary":
        p.before_loss = torch.relu
    else:
        p.before_loss = p.rng.choice([torch.relu, torch.sigmoid])


def fault_mismatch(p):
    if p.task == "classification":
        p.before_loss = p.rng.choice([lambda o: o.softmax(1), torch.sigmoid])
    elif p.task == "binary":
        p.before_loss = torch.sigmoid
    else:
        p.y = p.y[:, 0]
        p.wrap = None


def fault_detach(p):
    class Cut(nn.Module):
        def __init__(self, net):
            super().__init__()
            parts = list(net.children())
            self.body, self.head = nn.Sequential(*parts[:-1]), parts[-1]

        def forward(self, x):
            return self.head(self.body(x).detach())

    p.conv, p.wrap = False, Cut


def fault_not_updated(p):
    p.conv = False

    def replace(model):
        parts = list(model)
        model[len(parts) - 1] = nn.Linear(parts[-1].in_features, p.out)

    p.after_optimizer = replace


def fault_zero(p):
    p.zero = False


def fault_rate_large(p):
    p.rate = {"sgd": 10.0, "adam": 1.0, "adamw": 1.0}[p.optimizer] * p.rng.choice([1, 3])
    p.schedule = None


def fault_rate_small(p):
    p.rate = {"sgd": 1e-5, "adam": 1e-6, "adamw": 1e-6}[p.optimizer] * p.rng.choice([1, 3])
    p.schedule = None


def fault_regularized(p):
    p.optimizer, p.rate, p.norm = "sgd", 0.05, None
    if p.rng.random() < 0.5:
        p.decay = p.rng.choice([0.5, 1.0])
    else:
        p.penalty = p.rng.choice([0.3, 1.0])


def fault_overfit(p):
    p.x, p.y, p.out, p.task = images_cifar(p.rng)
    p.image, p.conv, p.dropout, p.norm, p.decay = True, False, 0.0, None, 0.0
    p.optimizer, p.rate, p.steps, p.schedule, p.validate = "adam", 1e-3, 300, None, True
    p.pause = lambda x, y: (x[:128], y[:128])


def fault_underfit(p):
    p.x, p.y, p.out, p.task = moons(p.rng)
    r = p.x - p.x.mean(0)
    p.y = ((r**2).sum(1) > (r**2).sum(1).median()).long()
    p.image = p.conv = False
    p.optimizer, p.rate, p.dropout, p.norm, p.steps = "adam", 1e-2, 0.0, None, 300
    p.act = nn.Identity


def fault_slow(p):
    p.sleep, p.conv, p.steps, p.batch = 1e-3, False, 60, 16


def fault_nan(p):
    p.before_loss = torch.log


FAULTS = {
    "input-not-normalized": fault_input, "label-invalid": fault_labels, "class-imbalance": fault_imbalance,
    "not-shuffled": fault_shuffle, "label-noise": fault_noise, "init-symmetric": fault_symmetric,
    "init-too-small": fault_small, "init-too-large": fault_large, "relu-dead": fault_dead,
    "activation-saturated": fault_saturated, "gradient-vanishing": fault_vanishing,
    "norm-batch-too-small": fault_norm_batch, "norm-train-test-gap": fault_norm_gap, "mode-wrong": fault_mode,
    "output-range": fault_range, "loss-mismatch": fault_mismatch, "parameter-without-gradient": fault_detach,
    "parameter-not-updated": fault_not_updated, "gradient-not-zeroed": fault_zero,
    "learning-rate-too-large": fault_rate_large, "learning-rate-too-small": fault_rate_small,
    "regularization-too-strong": fault_regularized, "overfitting": fault_overfit, "underfitting": fault_underfit,
    "training-slow-input": fault_slow, "loss-not-finite": fault_nan,
}  # fmt: skip


# ---------------------------------------------------------------------------- healthy styles
def style_jitter(p):
    p.jitter = 0.3


def style_dropout(p):
    p.dropout = 0.5


def style_warm_up(p):
    p.schedule = "warm-up"


def style_restarts(p):
    p.schedule = "restarts"


def style_smoothing(p):
    p.smooth = 0.1


def style_group_norm(p):
    p.norm, p.batch = ("group", 4) if p.conv else ("layer", 4)


def style_sparse(p):
    p.act = nn.ReLU

    def edit(model):
        for m in weights(model)[:-1]:
            nn.init.constant_(m.bias, -0.05)

    p.edit = edit


def style_frozen(p):
    p.conv, p.norm, p.depth = False, None, 2

    def edit(model):
        weights(model)[0].requires_grad_(False)

    p.edit = edit


def style_accumulate(p):
    p.accumulate, p.steps, p.batch = 4, p.steps * 2, 16


def style_plain(p):
    pass


STYLES = [style_plain, style_plain, style_jitter, style_dropout, style_warm_up, style_restarts, style_smoothing,
          style_group_norm, style_sparse, style_frozen, style_accumulate]  # fmt: skip


def draw(number: int) -> Program:
    """Program `number`: two of three are sick; the same number is the same program."""
    p = Program(1000 + number)
    if number // 2 % 3 == 2:
        style = STYLES[number // 6 % len(STYLES)]
        p.style = style.__name__[6:]
        style(p)
    else:
        names = list(FAULTS)
        index = (number // 6) * 2 + (number // 2) % 3
        p.fault = names[index % len(names)]
        FAULTS[p.fault](p)
        if p.fault == "norm-train-test-gap" and p.image is False and p.batch < 8:
            p.batch = 32
    return p


# ---------------------------------------------------------------------------- published thresholds
def thresholds(s) -> set[str]:
    """AutoTrainer (Zhang et al. 2021) and SageMaker Debugger defaults, on the same signals.

    AutoTrainer: dying ReLU where 50 % of gradients (here: units) are zero, vanishing where the
    ratio of gradients between layers is below 1e-3, exploding above 10 times, oscillation, slow
    convergence below 1 % a window. SageMaker Debugger: mean gradient below 1e-7, tanh share at
    9.4 of 10, loss not decreasing by 1 % , initial weights' variance, zero share of 0.7.
    """
    found: set[str] = set()
    values = s.values("loss", "value")
    if any(not math.isfinite(v) for v in values):
        found |= {"gradient-exploding", "loss-not-finite"}
    places = [layer["place"] for layer in s.layers if s.values(layer["place"], "gradient")]
    if len(places) > 1:
        ratio = [
            a / b
            for a, b in zip(
                s.values(places[0], "gradient"), s.values(places[-1], "gradient"), strict=False
            )
            if b
        ]
        found |= {"gradient-vanishing"} if ratio and min(ratio) < 1e-3 else set()
        found |= {"gradient-exploding"} if ratio and max(ratio) > 10 else set()
    if any(s.last(p, "zero", 0) > 0.7 for p in places):
        found.add("relu-dead")
    if any(s.last(p, "saturated", 0) > 0.5 for p in places):
        found.add("activation-saturated")
    if len(values) > 40:
        early, late = sum(values[10:20]) / 10, sum(values[-10:]) / 10
        if late > 0.99 * early:
            found |= {"learning-rate-too-small"}
        if any(b > a for a, b in zip(values[-20:], values[-19:], strict=False)) and max(
            values[-20:]
        ) > 1.5 * min(values[-20:]):
            found.add("loss-oscillating")
    if s.last("input", "max", 0) > 1 or s.last("input", "min", 0) < -1:
        found.add("input-not-normalized")
    return found


# ---------------------------------------------------------------------------- measure
def observe(number: int) -> dict:
    p = draw(number)
    torch.manual_seed(number)
    crash = ""
    begin = time.perf_counter()
    try:
        with Doctor() as doctor:
            p.run()
    except Exception as error:
        crash = f"{type(error).__name__}: {str(error)[:60]}"
    grave = [f for f in doctor.findings if f["severity"] != "info"]
    return {
        "number": number, "fault": p.fault, "style": p.style, "task": p.task, "conv": p.conv,
        "optimizer": p.optimizer, "norm": p.norm, "found": [f["id"] for f in grave],
        "sure": [f["confidence"] for f in grave], "first_step": grave[0]["first_step"] if grave else None,
        "peers": sorted(thresholds(doctor.host.signals)), "overhead": doctor.overhead,
        "seconds": time.perf_counter() - begin, "steps": doctor.steps, "errors": doctor.errors, "crash": crash,
    }  # fmt: skip


def report(rows: list[dict]) -> None:
    sick, healthy = [r for r in rows if r["fault"]], [r for r in rows if not r["fault"]]
    first = sum(r["found"][:1] == [r["fault"]] for r in sick)
    recall = sum(r["fault"] in r["found"] for r in sick)
    alarms = [r for r in healthy if r["found"]]
    named = sum(len(r["found"]) for r in rows)
    over = sorted(r["overhead"] for r in healthy) or [0.0]
    print(f"programs {len(rows)}: {len(sick)} sick, {len(healthy)} healthy")
    print(f"first-named cause right  {first / max(len(sick), 1):.1%}")
    print(f"recall of the fault      {recall / max(len(sick), 1):.1%}")
    print(f"precision of all names   {recall / max(named, 1):.1%}")
    print(f"false alarms on healthy  {len(alarms) / max(len(healthy), 1):.1%}")
    print(f"overhead on healthy      median {over[len(over) // 2]:.1%}, worst {over[-1]:.1%}")
    hit = sum(r["fault"] in r["peers"] for r in sick)
    wolf = sum(bool(r["peers"]) for r in healthy)
    print(f"published thresholds     recall {hit / max(len(sick), 1):.1%}, "
          f"false alarms {wolf / max(len(healthy), 1):.1%}")  # fmt: skip
    print("confusion (fault -> first name, right ones left out):")
    wrong = Counter((r["fault"] or "healthy", (r["found"] or ["nothing"])[0]) for r in rows
                    if (r["fault"] and r["found"][:1] != [r["fault"]]) or (not r["fault"] and r["found"]))  # fmt: skip
    for (truth, name), count in sorted(wrong.items()):
        print(f"  {truth:28} {name:28} {count}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=120)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--half", choices=["tuning", "observed"], default="observed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for k in range(options.start, options.start + options.n):
        number = 2 * k + (options.half == "observed")
        rows.append(observe(number))
        if options.verbose:
            r = rows[-1]
            good = r["found"][:1] == [r["fault"]] if r["fault"] else not r["found"]
            print("ok " if good else "BAD", number, r["fault"] or "healthy:" + r["style"], r["task"], r["optimizer"],
                  "conv" if r["conv"] else "mlp", r["norm"], r["found"], r["crash"], *r["errors"],
                  f"{r['seconds']:.1f}s", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows))
    report(rows)


if __name__ == "__main__":
    main()
