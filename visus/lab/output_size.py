"""M = (N + 2 pad - K) / stride + 1, rounded down, against what the layer gives."""

from __future__ import annotations

import itertools

import torch

from visus.lab import experiments
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS
from visus.layers import Conv2d


def size(n: int, kernel: int, pad: int, stride: int) -> int:
    """The formula of the lecture."""
    return (n + 2 * pad - kernel) // stride + 1


@experiments.member
class OutputSize(Experiment):
    topic = "convolution"
    claim = "A convolution of N pixels gives M = (N + 2 pad - K) / stride + 1, rounded down."
    source = "Dumoulin & Visin 2016, relationship 6"
    seeds = 2
    quick = Settings(largest=24)
    full = Settings(largest=64)
    tiny = Settings(largest=8)
    inches = (6, 3.2)

    def measure(self, seed, *, largest):
        wrong = total = 0
        rows = []
        for kernel, pad, stride in itertools.product((1, 2, 3, 5, 7), (0, 1, 2, 3), (1, 2, 3)):
            conv = Conv2d(1, 1, kernel, stride, pad)
            for n in range(max(1, kernel - 2 * pad), largest + 1):
                found = conv(torch.zeros(1, 1, n, n)).shape[-1]
                wrong, total = wrong + (found != size(n, kernel, pad, stride)), total + 1
                if (kernel, pad) == (3, 1):
                    rows.append((n, stride, found))
        return {"wrong": wrong, "total": total, "rows": rows}

    def checks(self, runs):
        return [
            Check(f"sizes that differ, of {runs[0]['total']}", [r["wrong"] for r in runs], "<", 1)
        ]

    def draw(self, figure, runs):
        axes = figure.subplots()
        for stride, color in zip((1, 2, 3), COLORS, strict=False):
            rows = [(n, m) for n, s, m in runs[0]["rows"] if s == stride]
            n, m = zip(*rows, strict=True)
            axes.plot(
                n, [size(k, 3, 1, stride) for k in n], color=color, lw=1, drawstyle="steps-mid"
            )
            axes.plot(n, m, "o", ms=4, color=color, label=f"stride {stride}")
        axes.set(
            title="K = 3, pad = 1: formula (line) and layer (dots)",
            xlabel="N (pixels in)",
            ylabel="M (pixels out)",
        )
        axes.legend()
