"""What does the doctor cost? Wall-clock time of healthy programs with and without it, in turn.

Each round runs every program plain and watched, one right after the other, in an order that
changes from round to round; the ratio is the median over rounds. Beside it stands what the doctor
itself reports as `overhead`.

    python benchmarks/watch_overhead.py [--rounds 3] [--only NAME]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

from visus.doctor import Doctor


def data(n: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten classes of noisy patterns, drawn once."""
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, 10, (n,), generator=g)
    return torch.randn(10, *shape, generator=g)[y] + torch.randn(n, *shape, generator=g), y


def stage(a: int, b: int) -> list[nn.Module]:
    return [
        nn.Conv2d(a, b, 3, padding=1, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def cnn() -> nn.Module:
    body = [*stage(3, 32), *stage(32, 64), *stage(64, 128)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


# name: network, shape of a sample, batch, steps
PROGRAMS = {
    "mlp, 28x28, batch 128": (mlp, (784,), 128, 800),
    "cnn, 16x16, batch 64": (cnn, (3, 16, 16), 64, 300),
    "cnn, 32x32, batch 64": (cnn, (3, 32, 32), 64, 200),
}


def program(make, shape, batch: int, steps: int) -> None:
    """An ordinary program: shuffled batches, SGD with momentum, cosine, validation each epoch."""
    torch.manual_seed(0)
    (x, y), model = data(batch * 25, shape), make()
    xv, yv, x, y = x[: batch * 5], y[: batch * 5], x[batch * 5 :], y[batch * 5 :]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    done = 0
    while done < steps:
        model.train()
        for rows in torch.randperm(len(x)).split(batch)[: steps - done]:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
        model.eval()
        with torch.no_grad():
            for k in range(0, len(xv), batch):
                (model(xv[k : k + batch]).argmax(1) == yv[k : k + batch]).float().mean().item()


def timed(name: str, watched: bool) -> tuple[float, float]:
    """(wall-clock seconds, reported overhead) of one run."""
    begin = time.perf_counter()
    if not watched:
        program(*PROGRAMS[name])
        return time.perf_counter() - begin, 0.0
    with Doctor() as doctor:
        program(*PROGRAMS[name])
    assert not doctor.errors and not [f for f in doctor.findings if f["severity"] != "info"]
    return time.perf_counter() - begin, doctor.overhead


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    mlp()(torch.zeros(2, 784)).sum().backward()  # torch warms up
    torch.optim.SGD(mlp().parameters(), 0.1).step()
    for name in [name for name in PROGRAMS if options.only in name]:
        ratios, told, plain = [], [], []
        for k in range(options.rounds):
            turns = {
                watched: timed(name, watched)
                for watched in ((False, True) if k % 2 else (True, False))
            }
            ratios.append(turns[True][0] / turns[False][0] - 1)
            told.append(turns[True][1])
            plain.append(turns[False][0])
        print(f"{name:24} {statistics.median(plain):6.1f} s   wall clock +{statistics.median(ratios):.1%} "
              f"({min(ratios):+.1%} to {max(ratios):+.1%})   reported {statistics.median(told):.1%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
