"""How fast is max-pool with one byte a window, against PyTorch's with int64? Ratios of one run.

python benchmarks/pooling.py [THREADS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import geometric_mean, keep_pages, race
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


def main(threads: int) -> None:
    """Print PyTorch's time / ours for every window, layout and shape."""
    torch.set_num_threads(threads)
    print(f"max-pool float32, {threads} thread(s), {keep_pages()}: PyTorch's time / ours")
    for name, window in WINDOWS.items():
        for layout, memory in LAYOUTS.items():
            ratios: dict[str, list[float]] = {"forward": [], "forward + backward": []}
            for shape in SHAPES:
                x = torch.randn(shape).to(memory_format=memory).requires_grad_()
                for found, make in zip(ratios.values(), (forward, both), strict=True):
                    sides = {
                        "torch": make(F.max_pool2d, x, window),
                        "ours": make(max_pool2d, x, window),
                    }
                    times = race(sides, seconds=0.15, rounds=5)
                    found.append(times["torch"].middle / times["ours"].middle)
            for what, found in ratios.items():
                row = " ".join(f"{r:5.2f}" for r in found)
                print(f"{name}  {layout:13s} {what:18s} {row}   mean {geometric_mean(found):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
