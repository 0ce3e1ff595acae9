"""What every benchmark shares: one process, interleaved rounds, pages kept, the floor measured."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout


def keep_pages(megabytes: int = 960) -> str:
    """glibc keeps freed memory, for both sides alike, and holds so much from the start; returns what
    was set. Without, a tensor may be paged in anew in some round: 40 ms for 50 MB."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        kept = libc.mallopt(-3, 1 << 30) and libc.mallopt(-1, 2**31 - 1)  # MMAP and TRIM threshold
    except OSError:
        kept = False
    torch.ones(megabytes << 18)
    return "pages kept (mallopt)" if kept else "default allocator"


@dataclass(frozen=True)
class Time:
    """Seconds of one call: the least, the median and the spread (quartiles) of the rounds."""

    least: float
    middle: float
    low: float
    high: float


BRIEF = 0.003  # seconds of a round: shorter than most of what a neighbour on the same core does


def race(sides: Mapping[str, Callable[[], object]], seconds: float = 0.6, rounds: int = 7) -> dict[str, Time]:  # fmt: skip
    """Time all sides in turn, in at least so many rounds, each long enough for the clock.

    Short calls have more rounds, not longer ones: where another machine has the other half of the
    core for a while, all sides have rounds without it.
    """
    once, share = {name: _once(run) for name, run in sides.items()}, seconds / len(sides)
    rounds = max(rounds, int(share / max(BRIEF, *once.values())))
    calls = {name: max(1, int(share / rounds / time)) for name, time in once.items()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 else list(sides)[::-1]
        for name in order:
            found[name].append(_clock(sides[name], calls[name]))
    return {name: _time(times) for name, times in found.items()}


def _once(run: Callable[[], object]) -> float:
    for _ in range(2):
        run()
    return _clock(run, 2)


def _clock(run: Callable[[], object], calls: int) -> float:
    # One thread works as long as its processor time says, whoever else has the core meanwhile.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) / calls


def _time(times: list[float]) -> Time:
    times = sorted(times)
    quarter = len(times) // 4
    return Time(times[0], median(times), times[quarter], times[-1 - quarter])


def movers(megabytes: int = 64) -> dict[str, tuple[Callable[[], object], int]]:
    """Ways to move bytes through memory, each with the bytes that one call moves.

    A copy by torch reads and writes; a batch norm in eval mode reads and writes past the caches
    (the streaming stores of our own kernels); a sum only reads. To be timed beside the kernels,
    at the same moment; the fastest of them says what memory allows.
    """
    from visus.layers.norm import BatchNorm2d

    a = torch.ones(4, 16, megabytes << 6, 64)
    b, norm, size = torch.empty_like(a), BatchNorm2d(16).eval().requires_grad_(False), a.nbytes
    return {
        "copy": (lambda: b.copy_(a), 2 * size),
        "streamed": (lambda: norm(a), 2 * size),
        "sum": (lambda: a.sum(), size),
    }


def fastest(times: Mapping[str, Time], ways: Mapping[str, tuple[object, int]]) -> float:
    """Bytes a second of the fastest of `movers`."""
    return max(size / times[name].least for name, (_, size) in ways.items())


def bandwidth() -> float:
    """Bytes a second that this process moves through memory now: the best of `movers`."""
    ways = movers(256)
    return fastest(race({name: run for name, (run, _) in ways.items()}, 1.5, 5), ways)


def thread_counts(text: str) -> list[int]:
    """Numbers from `1,2` or `1`, for argparse."""
    return [int(word) for word in text.split(",")]


def geometric_mean(values: list[float]) -> float:
    """The geometric mean, 0 of nothing."""
    return float(torch.tensor(values, dtype=torch.float64).log().mean().exp()) if values else 0.0
