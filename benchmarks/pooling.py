"""How fast is max-pool with one byte a window, against PyTorch's with int64?

Both sides interleaved in one process with one allocator; PyTorch's time / ours, and our time
over the floor: the bytes that must move at the bandwidth measured in the same run. A window of
k pixels' stride reads x, writes y and one byte; backward reads g and the byte and writes dx.

    python benchmarks/pooling.py [--window "3x3 stride 1"] [--threads 1,2] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from harness import bandwidth, geometric_mean, keep_pages, race, thread_counts
from torch import Tensor

from visus.kernels.pool import max_pool2d

SHAPES = [(64, 64, 32, 32), (64, 256, 16, 16), (128, 64, 32, 32), (16, 64, 112, 112),
          (16, 256, 56, 56), (8, 512, 7, 7), (2, 32, 256, 256)]  # fmt: skip
WINDOWS = {"2x2 stride 2": (2, 2, 0), "3x3 stride 2": (3, 2, 1), "3x3 stride 1": (3, 1, 1)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def forward(pool: Callable[..., Tensor], x: Tensor, window: tuple) -> Callable[[], object]:
    """One forward pass that keeps what a backward pass needs."""
    return lambda: pool(x, *window)


def both(pool: Callable[..., Tensor], x: Tensor, window: tuple) -> Callable[[], object]:
    """Forward and backward."""
    g = torch.randn_like(pool(x, *window).detach())
    return lambda: torch.autograd.grad(pool(x, *window), x, g)


def case(name: str, layout: str, shape: tuple, threads: int, speed: float) -> list[dict[str, Any]]:
    """The lines of one window, layout and shape."""
    window, lines = WINDOWS[name], []
    x = torch.randn(shape).to(memory_format=LAYOUTS[layout]).requires_grad_()
    made = F.max_pool2d(x, *window)
    torch.testing.assert_close(max_pool2d(x, *window), made, rtol=0, atol=0)
    for what, make in (("forward", forward), ("forward + backward", both)):
        sides = {"torch": make(F.max_pool2d, x, window), "ours": make(max_pool2d, x, window)}
        times = race(sides, seconds=0.15, rounds=5)
        moved = (x.nbytes + made.numel() * 5) * (1 if what == "forward" else 2)
        ours = times["ours"].least
        lines.append({
            "window": name, "layout": layout, "shape": list(shape), "threads": threads, "what": what,
            "ratio": times["torch"].least / ours, "floor": ours * speed / moved, "bytes": x.nbytes,
        })  # fmt: skip
    return lines


def show(lines: list[dict[str, Any]]) -> None:
    """One row a window, layout and direction: a ratio for each shape, their mean, the floor."""
    for what in ("forward", "forward + backward"):
        mine = [line for line in lines if line["what"] == what]
        ratios, first = [line["ratio"] for line in mine], mine[0]
        row = " ".join(f"{r:5.2f}" for r in ratios)
        floor = geometric_mean([line["floor"] for line in mine])
        print(f"{first['window']}  {first['layout']:13s} {first['threads']}t {what:18s} {row}   mean {geometric_mean(ratios):.2f}  floor x {floor:.2f}", flush=True)  # fmt: skip


def plot(lines: list[dict[str, Any]], file: str) -> None:
    """PyTorch's time / ours, one panel a window, a bar for each layout, shape and direction."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(line["window"] for line in lines))
    fig = Figure(figsize=(11, 2.6 * len(names)), layout="constrained")
    for ax, name in zip(fig.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        mine = [line for line in lines if line["window"] == name]
        colors = ["#2d6ea8" if m["layout"] == "contiguous" else "#c46a3f" for m in mine]
        ax.bar(range(len(mine)), [m["ratio"] for m in mine], color=colors)
        ax.axhline(1, color="#555555", lw=0.8)
        labels = [f"{'x'.join(map(str, m['shape']))}\n{'f' if m['what'] == 'forward' else 'f+b'} {m['threads']}t" for m in mine]  # fmt: skip
        ax.set_xticks(range(len(mine)), labels, rotation=90, fontsize=5)
        ax.set(yscale="log", title=f"{name} (blue: contiguous, orange: channels-last)", ylabel="torch / ours")  # fmt: skip
    fig.savefig(file, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--window", choices=WINDOWS, action="append")
    parser.add_argument("--threads", type=thread_counts, default=[1, 2], metavar="1,2")
    parser.add_argument("--json")
    parser.add_argument("--plot")
    options = parser.parse_args()
    print(f"max-pool float32, {keep_pages()}: PyTorch's time / ours for {SHAPES}")
    lines: list[dict[str, Any]] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        speed = bandwidth()
        for name in options.window or WINDOWS:
            for layout in LAYOUTS:
                found = [line for s in SHAPES for line in case(name, layout, s, threads, speed)]
                show(found)
                lines += found
    if options.json:
        with open(options.json, "w") as out:
            json.dump(lines, out)
    if options.plot:
        plot(lines, options.plot)


if __name__ == "__main__":
    main()
