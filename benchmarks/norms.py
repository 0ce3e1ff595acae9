"""Are our norms faster than PyTorch's, and how far from what memory allows?

Every norm, layout and shape, on 1 and 2 threads, forward and forward + backward, both sides
interleaved in one process with the same allocator; correctness is asserted first. `floor` is our
time over the time in which memory moves what must be moved: 12 bytes an element forward and 20
backward in float32 where the set is larger than a cache, 8 and 12 for instance, layer and group
norm. What memory moves in a second is the best of a copy, a streamed write and a sum, timed in
the same rounds as the norm (for tensors of 50 MB and more; once at the start for smaller ones). "+ReLU" compares our norm with its ReLU to PyTorch's norm alone.

    python benchmarks/norms.py [--quick] [--norm NAME] [--shape 8x512x7x7] [--threads 1,2] [--compile] [--json FILE] [--plot FILE]
    python benchmarks/norms.py --again FILE --seconds 1    the cases of FILE that missed a bar, longer
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from harness import bandwidth, fastest, geometric_mean, keep_pages, movers, race, thread_counts
from torch import Tensor, nn

import visus.layers.norm as ours
from visus import kernels

SHAPES = [
    (64, 64, 32, 32), (64, 256, 16, 16), (128, 64, 32, 32), (16, 64, 112, 112), (16, 256, 56, 56),
    (8, 512, 7, 7), (2, 32, 256, 256),
]  # fmt: skip
LARGE = 50 * 10**6  # bytes from which memory is the floor
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


class TheirBatchInstanceNorm(nn.BatchNorm2d):
    """The official composition: two norms, mixed by the gate."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.gate = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        a = F.batch_norm(x, self.running_mean, self.running_var, self.weight * self.gate, self.bias, self.training, self.momentum or 0.0, self.eps)  # fmt: skip
        n, c, h, w = x.shape
        b = F.batch_norm(
            x.reshape(1, n * c, h, w), None, None, (self.weight * (1 - self.gate)).repeat(n), None, True, 0.0, self.eps
        )  # fmt: skip
        return a + b.view(n, c, h, w)


class TheirLayerNorm2d(nn.LayerNorm):
    """As ConvNeXt and torchvision write it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


# name -> (ours, theirs, bytes an element forward, backward)
NORMS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module], int, int]] = {
    "batch": (lambda s, a: ours.BatchNorm2d(s[1], act=a), lambda s: nn.BatchNorm2d(s[1]), 12, 20),
    "instance": (
        lambda s, a: ours.InstanceNorm2d(s[1], affine=True, act=a), lambda s: nn.InstanceNorm2d(s[1], affine=True), 8, 12,
    ),
    "group": (lambda s, a: ours.GroupNorm(32, s[1], act=a), lambda s: nn.GroupNorm(32, s[1]), 8, 12),
    "layer": (lambda s, a: ours.LayerNorm(s[1:], act=a), lambda s: nn.LayerNorm(s[1:]), 8, 12),
    "layer2d": (
        lambda s, a: ours.LayerNorm2d(s[1], act=a), lambda s: TheirLayerNorm2d(s[1], eps=1e-6), 8, 12,
    ),
    "batch-instance": (
        lambda s, a: ours.BatchInstanceNorm2d(s[1], act=a), lambda s: TheirBatchInstanceNorm(s[1]), 12, 20,
    ),
}  # fmt: skip


def forward(module: nn.Module, x: Tensor, g: Tensor) -> Callable[[], object]:
    def run() -> None:
        with torch.no_grad():
            module(x)

    return run


def both(module: nn.Module, x: Tensor, g: Tensor) -> Callable[[], object]:
    given = [x, *module.parameters()]
    return lambda: torch.autograd.grad(module(x), given, g)


WHAT = {"forward": forward, "both": both}


def weights(module: nn.Module, what: str) -> int:
    """Bytes of weight and bias that must move: read forward; backward the weight again, and two gradients.

    Next to nothing but for layer norm, which has one of each a number of a sample.
    """
    size = sum(p.nbytes for p in module.parameters())
    return size if what == "forward" else size + size // 2 + size


def agree(mine: nn.Module, theirs: nn.Module, x: Tensor, g: Tensor) -> None:
    """Raise unless outputs and gradients agree to rounding."""
    found = [[m(x).detach(), *torch.autograd.grad(m(x), [x, *m.parameters()], g)] for m in (mine, theirs)]  # fmt: skip
    if hasattr(mine, "gate"):
        # The gate's gradient is a difference of two sums nearly equal. The composition takes each
        # in float32 and is off by up to 0.4 % of its largest value, so ours answers to float64.
        exact = copy.deepcopy(theirs).double()
        found[1][-1], *_ = torch.autograd.grad(exact(x.double()), exact.gate, g.double())  # type: ignore[arg-type]
        found[1][-1] = found[1][-1].float()
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-3 * float(b.detach().abs().max() + 1))


def case(name: str, shape: tuple[int, ...], layout: str, threads: int, speed: float, options: Any) -> list[dict]:  # fmt: skip
    """The lines of one norm, shape, layout and number of threads."""
    torch.set_num_threads(threads)
    make, peer, *floors = NORMS[name]
    torch.manual_seed(0)
    x = torch.randn(shape).contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    g = torch.randn(shape).contiguous(memory_format=LAYOUTS[layout])
    modules = {"ours": make(shape, None), "ours+relu": make(shape, "relu"), "torch": peer(shape)}
    if name == "batch-instance":
        for key in ("ours", "torch"):
            nn.init.constant_(modules[key].gate, 0.4)  # type: ignore[arg-type]
    agree(modules["ours"], modules["torch"], x, g)
    if options.compile:
        torch.compiler.reset()  # else the ninth graph of a class is not compiled any more
        modules["compiled"] = torch.compile(peer(shape))  # type: ignore[assignment]
    lines, ways = [], movers() if x.nbytes >= LARGE else {}
    for what, runner in WHAT.items():
        sides = {key: runner(module, x, g) for key, module in modules.items()}
        times = race(sides | {key: run for key, (run, _) in ways.items()}, options.seconds)
        speed = fastest(times, ways) if ways else speed
        moved = x.nbytes // 4 * (floors[0] + (floors[1] if what == "both" else 0))
        least = (moved + weights(modules["ours"], what)) / speed
        middle = {key: t.least for key, t in times.items()}
        lines.append({
            "norm": name, "shape": list(shape), "layout": layout, "threads": threads, "what": what,
            "bytes": x.nbytes, "speed": speed, "ours_ms": middle["ours"] * 1e3, "torch_ms": middle["torch"] * 1e3,
            "ratio": middle["torch"] / middle["ours"], "relu_ratio": middle["torch"] / middle["ours+relu"],
            "spread": (times["ours"].high - times["ours"].low) / times["ours"].middle,
            "floor": middle["ours"] / least, "torch_floor": middle["torch"] / least,
            "compile_ratio": middle["compiled"] / middle["ours"] if "compiled" in middle else None,
        })  # fmt: skip
    return lines


def key(line: dict) -> tuple:
    return line["norm"], tuple(line["shape"]), line["layout"], line["threads"]


def missed(line: dict) -> bool:
    """Whether a line misses one of the bars: 0.95, 1 with ReLU, 1.3 of the floor."""
    whole = line["what"] == "both"
    slow = whole and (line["ratio"] < 0.95 or (line["bytes"] >= LARGE and line["floor"] > 1.3))
    return slow or line["relu_ratio"] < 1


def wanted(options: Any) -> Callable[..., bool]:
    """Which cases to run: all, or those of an earlier run that missed a bar."""
    if not options.again:
        return lambda *case: True
    with open(options.again) as file:
        again = {key(line) for line in json.load(file) if missed(line)}
    return lambda *case: case in again


def show(line: dict) -> None:
    shape = "x".join(map(str, line["shape"]))
    print(
        f"{line['norm']:15s}{shape:15s}{line['layout']:5s}{line['threads']} thread {line['what']:8s}"
        f"ours {line['ours_ms']:8.3f} ms  torch/ours {line['ratio']:6.2f}  with ReLU {line['relu_ratio']:6.2f}"
        f"  floor x {line['floor']:5.2f}  (torch {line['torch_floor']:5.2f})"
        + (f"  compile/ours {line['compile_ratio']:.2f}" if line["compile_ratio"] else ""),
        flush=True,
    )


def summary(lines: list[dict]) -> None:
    """The bars of the issue, as reached."""
    whole = [line for line in lines if line["what"] == "both"]
    print("\nforward + backward, torch / ours, geometric mean (least):")
    for name in dict.fromkeys(line["norm"] for line in whole):
        mine = [line["ratio"] for line in whole if line["norm"] == name]
        print(f"  {name:15s} {geometric_mean(mine):5.2f} ({min(mine):.2f})")
    ratios = [line["ratio"] for line in whole]
    print(f"  all             {geometric_mean(ratios):5.2f} ({min(ratios):.2f}); below 0.95: {sum(r < 0.95 for r in ratios)} of {len(ratios)}")  # fmt: skip
    big = [line["floor"] for line in whole if line["bytes"] >= LARGE]
    if big:
        print(f"floor ratio on tensors of 50 MB and more: {min(big):.2f} to {max(big):.2f}, geometric mean {geometric_mean(big):.2f}; above 1.3: {sum(b > 1.3 for b in big)} of {len(big)}")  # fmt: skip
    relu = [line["relu_ratio"] for line in lines]
    print(f"norm + ReLU against PyTorch's norm alone: least {min(relu):.2f}, below 1: {sum(r < 1 for r in relu)} of {len(relu)}")  # fmt: skip


def memory() -> None:
    """Bytes that stay for backward, norm + ReLU, by saved tensors."""
    shape = (16, 64, 56, 56)

    def kept_by(module: nn.Module) -> float:
        kept: dict[int, int] = {}
        x = torch.randn(shape, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t.nbytes) and t, lambda t: t):  # fmt: skip
            module(x)
        return sum(kept.values()) / x.nbytes

    for key, module in {
        "ours": ours.BatchNorm2d(64, act="relu"), "torch": nn.Sequential(nn.BatchNorm2d(64), nn.ReLU()),
    }.items():  # fmt: skip
        print(f"kept for backward, batch norm + ReLU, {key}: {kept_by(module):.2f} tensors")


COLORS = {"NCHW": "#2d6ea8", "NHWC": "#c46a3f"}


def plot(lines: list[dict], file: str) -> None:
    """torch / ours of forward + backward, one panel a norm, a bar for each shape and layout."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    whole = [line for line in lines if line["what"] == "both"]
    names = list(dict.fromkeys(line["norm"] for line in whole))
    fig = Figure(figsize=(11, 1.7 * len(names) + 1.2), layout="constrained")
    axes = fig.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        panel(ax, name, [line for line in whole if line["norm"] == name])
    known = [Patch(color=color, label=layout) for layout, color in COLORS.items()]
    fig.legend(handles=known, loc="outside upper right", ncols=2, frameon=False)
    fig.suptitle("Forward + backward: PyTorch's time / ours (above 1: ours is faster)", x=0.02, ha="left", fontsize=11)  # fmt: skip
    fig.savefig(file, dpi=130)


def panel(ax: Any, name: str, mine: list[dict]) -> None:
    """The bars of one norm, on a logarithmic axis with plain numbers."""
    several = len({m["threads"] for m in mine}) > 1
    ratios = [m["ratio"] for m in mine]
    labels = ["x".join(map(str, m["shape"])) + (f" {m['threads']}t" if several else "") for m in mine]  # fmt: skip
    ax.bar(range(len(mine)), ratios, color=[COLORS[m["layout"]] for m in mine])
    ax.axhline(1, color="#555555", lw=0.8)
    ax.set(yscale="log", ylabel=name, ylim=(min([0.5, *ratios]) / 1.1, max([4, *ratios]) * 1.5))
    ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8, 16) if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_yticks([], minor=True)
    ax.spines[["top", "right"]].set_visible(False)
    for i, ratio in enumerate(ratios):
        ax.text(i, ratio, f"{ratio:.2f}" if ratio < 1.05 else f"{ratio:.1f}", ha="center", va="bottom", fontsize=6)  # fmt: skip
    ax.set_xticks(range(len(mine)), labels, rotation=90, fontsize=6)


def shape_of(text: str) -> tuple[int, ...]:
    """(8, 512, 7, 7) from `8x512x7x7`, for argparse."""
    return tuple(int(word) for word in text.split("x"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--norm", choices=NORMS, action="append")
    parser.add_argument("--shape", type=shape_of, action="append", metavar="NxCxHxW")
    parser.add_argument("--threads", type=thread_counts, default=[1, 2], metavar="1,2")
    parser.add_argument("--quick", action="store_true", help="two shapes, shorter rounds")
    parser.add_argument("--seconds", type=float, default=0.6, help="for each comparison")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--again", metavar="FILE", help="only what missed a bar in this --json FILE"
    )
    parser.add_argument("--json")
    parser.add_argument("--plot")
    options = parser.parse_args()
    runs = wanted(options)
    options.seconds = 0.25 if options.quick else options.seconds
    allocator, lines = keep_pages(), []
    print(f"torch {torch.__version__}, {allocator}\n{kernels.info()}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        speed = bandwidth()
        print(f"\n{threads} threads, memory {speed / 1e9:.1f} GB/s")
        for name in options.norm or NORMS:
            for shape in options.shape or SHAPES[:: 4 if options.quick else 1]:
                for layout in [way for way in LAYOUTS if runs(name, shape, way, threads)]:
                    for line in case(name, shape, layout, threads, speed, options):
                        show(line)
                        lines.append(line)
    summary(lines)
    memory()
    if options.json:
        with open(options.json, "w") as out:
            json.dump(lines, out)
    if options.plot:
        plot(lines, options.plot)


if __name__ == "__main__":
    main()
