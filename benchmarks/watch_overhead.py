"""What does the doctor cost? One program at several lengths, watched and not.

A length is seconds of the plain program: its steps are counted off beforehand. Each line holds the
doctor's own seconds, what it reports as `overhead`, and how much more processor time the whole
program took than without it (the median over rounds; on a busy machine processor time is steadier
than the clock, and this measure catches what the doctor's own count may miss). A third of the programs
are healthy; a third have a rate so small that the weights go nowhere, a third ("slow") one at which
too little is learned: those pay for the experiments at the end.

    python benchmarks/watch_overhead.py [--seconds 1 5 20 60] [--rounds 1] [--only NAME] [--no-plain]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

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


# name: network, shape of a sample, batch
PROGRAMS = {
    "mlp, 28x28, batch 128": (mlp, (784,), 128),
    "cnn, 16x16, batch 64": (cnn, (3, 16, 16), 64),
    "cnn, 32x32, batch 64": (cnn, (3, 32, 32), 64),
}
RATES = {"healthy": 0.02, "slow": 1e-4, "sick": 1e-6}


def program(make, shape, batch: int, steps: int, rate: float = 0.02) -> None:
    """An ordinary program: shuffled batches, SGD with momentum, cosine, validation each epoch."""
    torch.manual_seed(0)
    (x, y), model = data(batch * 25, shape), make()
    xv, yv, x, y = x[: batch * 5], y[: batch * 5], x[batch * 5 :], y[batch * 5 :]
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
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


def plain(name: str, steps: int, rate: float) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    begin, busy = time.perf_counter(), time.process_time()
    make, shape, batch = PROGRAMS[name]
    program(make, shape, batch, steps, rate)
    return time.perf_counter() - begin, time.process_time() - busy


def watched(name: str, steps: int, rate: float) -> tuple[float, float, float]:
    """Processor seconds, the doctor's own seconds and the overhead it reports."""
    (make, shape, batch), busy = PROGRAMS[name], time.process_time()
    with Doctor() as doctor:
        program(make, shape, batch, steps, rate)
    grave = [f["id"] for f in doctor.findings if f["severity"] != "info"]
    sick = rate == RATES["sick"]  # at the slow rate a long program learns all the same
    assert not doctor.errors and (rate == RATES["slow"] or bool(grave) == sick), (
        grave,
        doctor.errors,
    )
    return time.process_time() - busy, doctor.host.clock.spent, doctor.overhead


def rows(options: argparse.Namespace) -> Iterator[str]:
    for name in [name for name in PROGRAMS if options.only in name]:
        one = plain(name, 40, 0.02)[0] / 40
        for seconds in options.seconds:
            steps = max(int(seconds / one), 20)
            for kind in options.kind:
                yield row(name, steps, kind, options)


def row(name: str, steps: int, kind: str, options: argparse.Namespace) -> str:
    ratios, own, told, took = [], [], [], []
    for _ in range(options.rounds):
        clock, busy = plain(name, steps, RATES[kind]) if options.plain else (0.0, 0.0)
        all_of_it, spent, overhead = watched(name, steps, RATES[kind])
        took.append(clock or spent / overhead)
        ratios.append(all_of_it / busy - 1 if busy else float("nan"))
        own.append(spent)
        told.append(overhead)
    m = statistics.median
    return (f"| {name} | {kind} | {m(took):.1f} | {steps} | {m(own):.2f} | {m(told):.1%} | "
            f"{m(ratios):+.1%} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 5, 20, 60])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kind", nargs="+", choices=list(RATES), default=list(RATES))
    parser.add_argument("--only", default="")
    parser.add_argument("--no-plain", dest="plain", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain(next(iter(PROGRAMS)), 5, 0.02)  # torch warms up
    with Doctor():
        pass  # and the rules and probes are read in
    print("| program | | seconds | steps | the doctor's seconds | overhead | processor time |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for line in rows(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
