"""What every benchmark shares: one process, interleaved rounds, pages kept, the floor measured."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


def keep_pages() -> str:
    """glibc keeps freed memory, for both sides alike; returns what was set."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        kept = libc.mallopt(-3, 1 << 30) and libc.mallopt(-1, 2**31 - 1)  # MMAP and TRIM threshold
    except OSError:
        kept = False
    return "pages kept (mallopt)" if kept else "default allocator"


@dataclass(frozen=True)
class Time:
    """Seconds of one call: the least, the median and the spread (quartiles) of the rounds."""

    least: float
    middle: float
    low: float
    high: float


def race(sides: Mapping[str, Callable[[], object]], seconds: float = 0.6, rounds: int = 7) -> dict[str, Time]:  # fmt: skip
    """Time all sides in turn, round by round, each long enough for the clock."""
    calls = {name: _calls(run, seconds / rounds / len(sides)) for name, run in sides.items()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 else list(sides)[::-1]
        for name in order:
            found[name].append(_clock(sides[name], calls[name]))
    return {name: _time(times) for name, times in found.items()}


def _calls(run: Callable[[], object], seconds: float) -> int:
    for _ in range(2):
        run()
    once = _clock(run, 2)
    return max(1, int(seconds / once))


def _clock(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _time(times: list[float]) -> Time:
    times = sorted(times)
    quarter = len(times) // 4
    return Time(times[0], median(times), times[quarter], times[-1 - quarter])


def bandwidth(megabytes: int = 256) -> float:
    """Bytes a second that this process reads and writes from and to memory now: the best of two kernels.

    A copy reads 4 and writes 4 bytes an element, an addition of two tensors 8 and 4.
    """
    a, b, c = (torch.ones(megabytes << 18) for _ in range(3))
    sides = {"copy": lambda: b.copy_(a), "add": lambda: torch.add(a, b, out=c)}
    times = race(sides, seconds=1.0, rounds=5)
    return a.nbytes * max(2 / times["copy"].least, 3 / times["add"].least)


def thread_counts(text: str) -> list[int]:
    """Numbers from `1,2` or `1`, for argparse."""
    return [int(word) for word in text.split(",")]


def geometric_mean(values: list[float]) -> float:
    """The geometric mean, 0 of nothing."""
    return float(torch.tensor(values, dtype=torch.float64).log().mean().exp()) if values else 0.0
