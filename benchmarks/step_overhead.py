"""What does the training loop cost beyond a plain torch loop? (peers: Lightning +2 ms, Keras +13 ms)

Both train the same network on the same batches with SGD and Nesterov, one round of each in turn;
the plain loop does what a tutorial does (gather, divide, zero_grad, forward, backward, step) and
reads its loss once a step, as ours must to catch nan. The loop of a `Session` is timed as it is
used: with seeds, jitter off, finiteness check, schedule, ledger lines and checkpoints' clock.

    python benchmarks/step_overhead.py [--rounds N]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median

import harness  # noqa: F401  finds the package of this checkout
import torch
from torch import nn

from visus.training import Session, load_recipe

STEPS = 100


class Images:
    """Random images with the face of an ImageSet."""

    def __init__(self, n: int):
        self.pixels = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8)
        self.targets = torch.randint(10, (n,))
        self.names = [str(i) for i in range(n)]

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        return self.pixels[indices]


@dataclass
class Data:
    train: Images
    validation: Images
    classes: list[str]
    channels: int = 1
    size: tuple[int, int] = (8, 8)
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.3,)


def tiny() -> nn.Module:
    """A network so small that the loop around it shows."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 10),
    )  # fmt: skip


def ours(data: Data) -> float:
    """Milliseconds a step of a session, evaluations and start left out."""
    sets = [
        "jitter=none", "batch_size=32", "epochs=1000", "optimizer.rate=0.01", "training.threads=1",
        "training.precision=float32", "training.channels_last=false",
    ]  # fmt: skip
    session = Session(load_recipe(None, sets), data, model=tiny(), device="cpu")
    loop = session.run()
    for _ in range(10):
        next(loop)
    start = time.perf_counter()
    for _ in range(STEPS):
        next(loop)
    spent = time.perf_counter() - start
    loop.close()
    return spent / STEPS * 1000


def plain(data: Data) -> float:
    """Milliseconds a step of the loop of a tutorial."""
    model, criterion = tiny(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True
    )
    order = torch.randperm(len(data.train))
    for step in range(10 + STEPS):
        if step == 10:
            start = time.perf_counter()
        chosen = order[step * 32 : step * 32 + 32]
        x = (data.train.batch(chosen).float() / 255 - 0.5) / 0.3
        optimizer.zero_grad()
        loss = criterion(model(x), data.train.targets[chosen])
        loss.backward()
        optimizer.step()
        loss.item()
    return (time.perf_counter() - start) / STEPS * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--rounds", type=int, default=20, help="one of each loop in turn")
    rounds = max(1, parser.parse_args().rounds)
    torch.set_num_threads(1)
    data = Data(Images(32 * (STEPS + 20)), Images(32), [str(k) for k in range(10)])
    pairs = [(plain(data), ours(data)) for _ in range(rounds)]
    extra = median(b - a for a, b in pairs)
    base, whole = median(a for a, _ in pairs), median(b for _, b in pairs)
    print(f"torch {torch.__version__}, 1 thread, batch 32 of 1x8x8, {rounds} interleaved rounds")
    print(f"plain loop {base:.2f} ms a step, visus {whole:.2f} ms: ratio {whole / base:.2f}")
    print(f"overhead {extra:+.2f} ms a step")


if __name__ == "__main__":
    main()
