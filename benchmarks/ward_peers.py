"""What two published tools would say of a program of the ward, with their own thresholds.

AutoTrainer (Zhang, Zhai, Ma, Shen: ICSE 2021; defaults from its repository, utils/monitor.py):
looks only where accuracy is below Theta 0.7 or rose by less than delta 0.01; then a dying ReLU is a
share of exact zeros among all gradients >= gamma 0.7, exploding a ratio of the first to the last
layer's gradient norm > beta_3 70, vanishing a ratio < beta_1 1e-3 with a first norm < beta_2 1e-4,
else slow convergence; with good accuracy, oscillation: swings of accuracy >= zeta 0.03 in eta 0.2
of the epochs. Weights or losses that are not finite are exploding.

SageMaker Debugger (AWS documentation, list of built-in rules, default parameters):
VanishingGradient mean |gradient| < 1e-7; ExplodingTensor not finite; DeadRelu units active in less
than 1 % of samples, more than 50 % of a layer; SaturatedActivation tanh input beyond 9.4999, sigmoid
beyond 23, more than 50 % of a layer; LossNotDecreasing less than 0.1 % in 10 steps;
PoorWeightInitialization largest over smallest weight variance > 10; ClassImbalance ratio > 10; Overfit
(validation - training loss) / training loss > 0.1; UnchangedTensor equal over 3 looks.
"""

from __future__ import annotations

import itertools
import math

import torch

from visus.doctor.probes import Probe


class Tools(Probe):
    """Reads what the two tools read, on the steps that the doctor looks at."""

    def __init__(self, host):
        super().__init__(host)
        self.zeros, self.ratios, self.firsts, self.faint = [], [], [], False
        self.bad, self.dead, self.flat, self.spread = False, False, False, 1.0

    def op(self, name, args, kwargs, result):
        if not isinstance(result, torch.Tensor) or result.ndim < 2:
            return
        units = result.detach().float().transpose(0, 1).flatten(1)
        if name == "relu":
            active = (units > 0).float().mean(1)
            self.dead |= float((active < 0.01).float().mean()) > 0.5
        if name in ("tanh", "sigmoid") and isinstance(args[0], torch.Tensor):
            given = args[0].detach().float().transpose(0, 1).flatten(1).abs()
            beyond = (given > (9.4999 if name == "tanh" else 23.0)).float().mean(1) > 0.99
            self.flat |= float(beyond.float().mean()) > 0.5

    def before_step(self, optimizer):
        grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        big = [g for g in grads if g.ndim > 1]
        if not big:
            return
        if self.host.step == 0:
            weights = [p for g in optimizer.param_groups for p in g["params"] if p.ndim > 1]
            variances = [float(p.detach().float().var()) for p in weights if p.numel() > 1]
            self.spread = max(variances) / max(min(variances), 1e-30) if variances else 1.0
        n = sum(g.numel() for g in grads)
        self.zeros.append(sum(float((g == 0).sum()) for g in grads) / n)
        first, last = float(big[0].norm()), float(big[-1].norm())
        self.ratios.append(first / last if last else math.inf)
        self.firsts.append(first)
        self.faint |= any(float(g.abs().mean()) < 1e-7 for g in big)
        self.bad |= any(not bool(torch.isfinite(g).all()) for g in grads)


def autotrainer(tools: Tools, s) -> set[str]:
    """The ids that AutoTrainer's problems correspond to."""
    values = s.values("loss", "value")
    if tools.bad or not all(map(math.isfinite, values)) or max(values, default=0) >= 1e5:
        return {"gradient-exploding", "loss-not-finite", "learning-rate-too-large"}
    accuracy = [1 - e for e in s.values("validation", "error")] + [
        1 - s.last("final", "train_error")
    ]
    accuracy = [a for a in accuracy if math.isfinite(a)]
    if s.facts.get("task") not in ("classification", "binary") or not accuracy:
        return set()
    gains = [b - a for a, b in itertools.pairwise(accuracy)]
    if max(accuracy) < 0.7 or max(gains, default=1.0) < 0.01:
        if max(tools.zeros, default=0) >= 0.7:
            return {"relu-dead"}
        if max(tools.ratios, default=1) > 70:
            return {"gradient-exploding"}
        if any(r < 1e-3 and f < 1e-4 for r, f in zip(tools.ratios, tools.firsts, strict=True)):
            return {"gradient-vanishing"}
        return (
            {"learning-rate-too-small", "underfitting"} if max(gains, default=1.0) < 0.01 else set()
        )
    tops = [b for a, b, c in zip(accuracy, accuracy[1:], accuracy[2:], strict=False) if a <= b >= c]
    lows = [b for a, b, c in zip(accuracy, accuracy[1:], accuracy[2:], strict=False) if a >= b <= c]
    swings = sum(a - b >= 0.03 for a, b in zip(tops, lows, strict=False))
    return (
        {"loss-oscillating", "learning-rate-too-large"}
        if swings and swings >= 0.2 * len(accuracy)
        else set()
    )


def sagemaker(tools: Tools, s) -> set[str]:
    """The ids that SageMaker Debugger's built-in rules correspond to."""
    values, found = s.values("loss", "value"), set()
    if tools.bad or not all(map(math.isfinite, values)):
        found |= {"loss-not-finite", "gradient-exploding", "learning-rate-too-large"}
    found |= {"gradient-vanishing"} if tools.faint else set()
    found |= {"relu-dead"} if tools.dead else set()
    found |= {"activation-saturated"} if tools.flat else set()
    found |= {"init-too-small", "init-too-large"} if tools.spread > 10 else set()
    if any(values[k] > 0.999 * values[k - 10] for k in range(10, len(values), 10)):
        found |= {"learning-rate-too-small", "underfitting", "loss-oscillating"}
    counts = s.facts.get("label_counts", {})
    if len(counts) > 1 and max(counts.values()) > 10 * min(counts.values()):
        found.add("class-imbalance")
    train, val = s.last("final", "train_loss"), s.last("validation", "loss")
    if math.isfinite(train) and math.isfinite(val) and (val - train) > 0.1 * train:
        found.add("overfitting")
    rows = [r for r in s.facts.get("parameters", []) if r["tracked"] and r["trainable"]]
    if any(not r["moved"] for r in rows):
        found |= {"parameter-not-updated", "parameter-without-gradient"}
    return found


PEERS = {"AutoTrainer": autotrainer, "SageMaker Debugger": sagemaker}
