"""What does `visus.optimize` change for a whole training step of someone else's model?

Two models in plain torch.nn, a ResNet-18 (with its one `relu` called twice in a block, as
everybody writes it) and a small CNN: step time and the peak of live tensors, optimized against
not, interleaved in one process with one warmed allocator. First the loss curves of 50 steps must be
the same to rounding: in float64, where rounding has no time to grow, both models train to losses that
differ by less than 1e-9; in float32 what rounding alone does is measured by training the plain
model once more from weights changed by one part in 10^7. `--compile` adds torch.compile as a
second peer.

    python benchmarks/optimize.py [--models small resnet18] [--threads 1,2] [--compile] [--json F]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import keep_pages, thread_counts
from torch import nn

from visus.layers.optimize import optimize


class Block(nn.Module):
    """The basic block of He et al. 2016, figure 2, in torch.nn alone."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2, self.downsample = nn.BatchNorm2d(outputs), None
        if stride != 1 or inputs != outputs:
            short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        short = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += short
        return self.relu(y)


def resnet18(width: int = 64) -> nn.Module:
    """ResNet-18 for small images: a 3x3 stem, no pooling after it."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
    ]  # fmt: skip
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def small(width: int = 32) -> nn.Module:
    """Three times convolution, batch norm, ReLU and pooling, and a linear layer."""
    layers, inputs = [], 3
    for outputs in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]  # fmt: skip
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "small": (small, 128),
    "resnet18": (resnet18, 16),
}


class Trainee:
    """A model, its optimizer and one batch: `step()` is one training step."""

    def __init__(self, model: nn.Module, batch: int, layout: torch.memory_format, rate: float):
        generator, kind = torch.Generator().manual_seed(1), next(model.parameters()).dtype
        self.model = model.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        images = torch.randn(batch, 3, 32, 32, generator=generator)
        self.images = images.to(kind).to(memory_format=layout)
        self.labels = torch.randint(10, (batch,), generator=generator)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def step(self) -> float:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def pair(
    name: str, layout: torch.memory_format, rate: float = 0.01, kind: torch.dtype = torch.float32
) -> dict[str, Trainee]:
    """The same model twice, one of them optimized; in float64, which is slow, on a quarter of the batch."""
    make, batch = MODELS[name]
    torch.manual_seed(0)
    plain = make().to(kind)
    fused = copy.deepcopy(plain)
    optimize(fused)
    batch //= 4 if kind is torch.float64 else 1
    return {
        "plain": Trainee(plain, batch, layout, rate),
        "optimized": Trainee(fused, batch, layout, rate),
    }


EXACT = 1e-9  # the losses of float64 agree to this


def furthest(a: list[float], b: list[float]) -> float:
    """The largest difference of two curves."""
    return max(abs(p - q) for p, q in zip(a, b, strict=True))


def exact_curves(name: str, layout: torch.memory_format, steps: int) -> float:
    """The largest difference of the losses of `steps` steps in float64; raises from EXACT on."""
    trainees = pair(name, layout, kind=torch.float64)
    apart = furthest(*([t.step() for _ in range(steps)] for t in trainees.values()))
    if not apart < EXACT:
        raise SystemExit(f"{name}: loss curves in float64 differ by {apart}, more than {EXACT}")
    return apart


def same_curve(name: str, layout: torch.memory_format, steps: int) -> dict[str, float]:
    """The largest difference of the losses of `steps` steps; raises beyond rounding."""
    exact, trainees = exact_curves(name, layout, steps), pair(name, layout)
    shaken = copy.deepcopy(trainees["plain"].model)
    with torch.no_grad():
        for p in shaken.parameters():
            p.mul_(1 + 1e-7 * torch.randn_like(p))
    trainees["shaken"] = Trainee(shaken, MODELS[name][1], layout, 0.01)
    curves = {key: [t.step() for _ in range(steps)] for key, t in trainees.items()}
    apart = {key: furthest(curves["plain"], curves[key]) for key in ("optimized", "shaken")}
    first = abs(curves["plain"][0] - curves["optimized"][0])
    if first > 1e-5 or apart["optimized"] > 10 * apart["shaken"] + 1e-5:
        raise SystemExit(f"{name}: loss curves differ by {apart}, at the first step by {first}")
    return {"first": curves["plain"][0], "last": curves["plain"][-1], "float64": exact, **apart}


def times(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, the peers taking turns so that a slow moment hits them all."""
    found: dict[str, list[float]] = {key: [] for key in steps}
    for turn in range(rounds + 2):
        for key, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:  # the first two turns warm the allocator and the compiler
                found[key].append(time.perf_counter() - start)
    return found


def ratio(found: dict[str, list[float]], of: str, to: str) -> tuple[float, float, float]:
    """The median of `of / to` over the rounds, with its quartiles."""
    each = sorted(a / b for a, b in zip(found[of], found[to], strict=True))
    return statistics.median(each), each[len(each) // 4], each[(3 * len(each)) // 4]


def speed(name: str, layout: torch.memory_format, rounds: int, compiled: bool) -> dict:
    """Step times of the plain, the optimized and the compiled model, and their ratios."""
    trainees = pair(name, layout)
    if compiled:
        twin = copy.deepcopy(trainees["plain"].model)
        trainees["compiled"] = Trainee(twin, MODELS[name][1], layout, 0.01)
        trainees["compiled"].model = torch.compile(twin)  # type: ignore[assignment]
    found = times({key: t.step for key, t in trainees.items()}, rounds)
    peers = [key for key in found if key != "optimized"]
    return {
        "milliseconds": {key: 1e3 * statistics.median(t) for key, t in found.items()},
        "ratios": {f"{peer} / optimized": ratio(found, peer, "optimized") for peer in peers},
    }


def peak(name: str, kind: str, layout: torch.memory_format) -> int:
    """Bytes of live tensors that a training step adds at its peak, by every call of the allocator."""
    trainee = pair(name, layout)[kind]
    trainee.step()  # momentum is there
    trainee.optimizer.zero_grad()
    with torch.profiler.profile(profile_memory=True) as seen:
        trainee.step()
    events = seen.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")  # type: ignore[attr-defined]
    return max(itertools.accumulate(size for _, size in changes))


LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def measure(name: str, layout: str, threads: int, options: argparse.Namespace) -> dict:
    """All that is said about one model in one layout."""
    torch.set_num_threads(threads)
    curve = same_curve(name, LAYOUTS[layout], options.steps) if options.steps else {}
    result = speed(name, LAYOUTS[layout], options.rounds, options.compile)
    memory = {kind: peak(name, kind, LAYOUTS[layout]) for kind in ("plain", "optimized")}
    return {"model": name, "layout": layout, "threads": threads, "curve": curve, **result, "peak": memory}  # fmt: skip


def show(row: dict) -> None:
    """One line of curve, one for each ratio, one of memory."""
    print(f"{row['model']}, {row['layout']}, {row['threads']} thread(s)")
    if row["curve"]:
        c = row["curve"]
        print(f"  largest difference of the losses in float64: {c['float64']:.1e}")
        print(f"  in float32: loss {c['first']:.4f} -> {c['last']:.4f}, largest difference {c['optimized']:.1e}; plain against weights shaken by 1e-7: {c['shaken']:.1e}")  # fmt: skip
    for peer, (middle, low, high) in row["ratios"].items():
        print(f"  step time  {peer}: {middle:.3f}  (quartiles {low:.3f} .. {high:.3f})")
    plain, fused = row["peak"]["plain"], row["peak"]["optimized"]
    print(f"  peak of live tensors  optimized / plain: {fused / plain:.3f}  ({fused / 2**20:.1f} of {plain / 2**20:.1f} MiB)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--threads", type=thread_counts, default=[1, 2], metavar="1,2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=50, help="of the loss curves; 0: none")
    parser.add_argument("--compile", action="store_true", help="torch.compile as a peer too")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    print(f"torch {torch.__version__}; {keep_pages()}")
    rows = []
    for threads in options.threads:
        for name in options.models:
            for layout in options.layouts:
                rows.append(measure(name, layout, threads, options))
                show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
