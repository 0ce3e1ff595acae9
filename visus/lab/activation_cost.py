"""What an activation costs: forward and backward, interleaved with its rivals."""

from __future__ import annotations

import time

import torch

from visus.lab import experiments
from visus.lab.bench import act
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import dots

NAMES = ("relu", "leaky-relu", "elu", "tanh", "sigmoid", "gelu")


@experiments.member
class ActivationCost(Experiment):
    topic = "activations"
    claim = "ReLU is the cheapest activation: sigmoid and tanh pay for an exponential."
    seeds = 7
    quick = Settings(elements=100_000, rounds=100)
    full = Settings(elements=4_000_000, rounds=40)
    tiny = Settings(elements=1000, rounds=2)
    inches = (7.5, 3.2)

    def measure(self, seed, *, elements, rounds):
        torch.manual_seed(seed)
        x, g = torch.randn(elements, requires_grad=True), torch.randn(elements)
        acts = {n: act(n) for n in NAMES}
        times: dict[str, list[float]] = {n: [] for n in NAMES}
        for turn in range(rounds + 1):
            for name in NAMES:
                began = time.perf_counter()
                torch.autograd.grad(acts[name](x), x, g)
                if turn:  # the first round only warms up
                    times[name].append(time.perf_counter() - began)
        # The fastest round: what else runs on the machine can only add time, never take some away.
        return {n: min(t) / elements * 1e9 for n, t in times.items()}

    def checks(self, runs):
        return [
            Check(f"time of {n} / time of ReLU", [r[n] / r["relu"] for r in runs], ">", 1.0, ratio=True)
            for n in ("tanh", "sigmoid")
        ]  # fmt: skip

    def draw(self, figure, runs):
        axes = figure.subplots()
        dots(axes, NAMES, [[r[n] for r in runs] for n in NAMES])
        axes.set(
            title="Forward and backward, one CPU thread", ylabel="ns an element", ylim=(0, None)
        )
