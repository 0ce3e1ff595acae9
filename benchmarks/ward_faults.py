"""What makes a program of the ward sick, and the healthy styles that only look odd."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from ward_programs import images_cifar, moons, table_binary


def weights(model) -> list[Any]:
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
