"""How far are the norms on a GPU from the memory floor, and how far ahead of PyTorch?

For each norm, shape, layout and dtype: forward, and forward + backward, of torch.nn's module
and of ours, in turns, timed with CUDA events; the floor is the bytes that must be read and
written (forward: x twice, y once; backward: g and x twice, dx once) at the bandwidth that a
plain copy reaches on this device in the same run. Ratios above 1 are good:

    peer / ours     how many times faster than PyTorch eager
    floor / ours    which part of the possible speed is reached (1: nothing is left)

    python benchmarks/gpu.py [--dtypes float32 bfloat16] [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SHAPES = [
    (64, 64, 32, 32), (64, 256, 16, 16), (128, 64, 32, 32), (16, 64, 112, 112),
    (16, 256, 56, 56), (8, 512, 7, 7), (2, 32, 256, 256),
]  # fmt: skip
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
NORMS: dict[str, Callable[[Any, int], nn.Module]] = {
    "batch": lambda nn, c: nn.BatchNorm2d(c),
    "instance": lambda nn, c: nn.InstanceNorm2d(c, affine=True),
    "group": lambda nn, c: nn.GroupNorm(8, c),
    "layer": lambda nn, c: nn.GroupNorm(1, c),
}


def milliseconds(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median time of each call, the peers taking turns, five calls a measurement."""
    found: dict[str, list[float]] = {key: [] for key in calls}
    for turn in range(rounds + 3):
        for key, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(5):
                call()
            end.record()
            torch.cuda.synchronize()
            if turn >= 3:
                found[key].append(start.elapsed_time(end) / 5)
    return {key: statistics.median(times) for key, times in found.items()}


def bandwidth(rounds: int) -> float:
    """Bytes a millisecond, read and written, of a copy of half a gigabyte."""
    x = torch.empty(2**27, device="cuda")
    y = torch.empty_like(x)
    return 2 * x.numel() * 4 / milliseconds({"copy": lambda: y.copy_(x)}, rounds)["copy"]


def step(module: nn.Module, x: torch.Tensor, g: torch.Tensor, relu: bool) -> Callable[[], Any]:
    """Forward and backward, by x and the parameters."""
    leaves = [x, *module.parameters()]

    def call() -> Any:
        y = module(x)
        return torch.autograd.grad(torch.relu(y) if relu else y, leaves, g)

    return call


def forward(module: nn.Module, x: torch.Tensor, g: torch.Tensor, relu: bool) -> Callable[[], Any]:
    """Forward alone, as in training but without a graph."""

    @torch.no_grad()
    def call() -> Any:
        return torch.relu(module(x)) if relu else module(x)

    return call


def rows(dtypes: list[str], rounds: int) -> Iterator[dict]:
    """One row for each norm, shape, layout, dtype, with and without a ReLU after it."""
    from visus import layers

    speed = bandwidth(rounds)
    for dtype in dtypes:
        for shape in SHAPES:
            for layout, memory_format in LAYOUTS.items():
                x = torch.randn(shape, device="cuda", dtype=getattr(torch, dtype))
                x = x.to(memory_format=memory_format).requires_grad_()
                g = torch.randn_like(x)
                for name, make in NORMS.items():
                    for relu in (False, True):
                        yield {
                            "norm": name + (" + relu" if relu else ""), "shape": shape,
                            "layout": layout, "dtype": dtype,
                            **case(make, layers, x, g, relu, speed, rounds),
                        }  # fmt: skip


def case(make: Any, layers: Any, x: Any, g: Any, relu: bool, speed: float, rounds: int) -> dict:
    """Milliseconds of peer and ours, and the two ratios, of forward and of a whole step."""
    theirs = make(nn, x.shape[1]).cuda()
    ours = make(layers, x.shape[1]).cuda()
    if relu:
        ours.act = "relu"
    size, found = x.numel() * x.element_size(), {}
    for what, sweeps, build in (("forward", 3, forward), ("step", 8, step)):
        calls = {"peer": build(theirs, x, g, relu), "ours": build(ours, x, g, False)}
        times = milliseconds(calls, rounds)
        floor = sweeps * size / speed
        found[what] = {
            **times, "peer / ours": times["peer"] / times["ours"],
            "floor / ours": floor / times["ours"],
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py: no CUDA device here; benchmarks/norms.py is for CPU")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, copy {bandwidth(options.rounds) / 1e6:.0f} GB/s")  # fmt: skip
    found = []
    for row in rows(options.dtypes, options.rounds):
        found.append(row)
        sides = "   ".join(
            f"{what}: peer / ours {row[what]['peer / ours']:5.2f}, floor / ours {row[what]['floor / ours']:4.2f}"
            for what in ("forward", "step")
        )
        print(f"{row['norm']:16} {row['dtype']:9} {row['shape']!s:20} {row['layout']:14} {sides}")
    for what in ("forward", "step"):
        ratios = [row[what]["peer / ours"] for row in found]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"{what}: geometric mean of peer / ours {mean:.2f}, worst {min(ratios):.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
