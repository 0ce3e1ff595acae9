"""What the machine allows: memory allocator, threads, precision."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # from glibc's malloc.h


@cache
def keep_pages() -> str:
    """Have glibc keep the memory of freed tensors, instead of faulting it in at every step.

    `mallopt(M_MMAP_THRESHOLD, 1 GiB)` and `mallopt(M_TRIM_THRESHOLD, max)`, once a process; on
    other platforms nothing is done. Returns what was done, for the ledger.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return "default"
    libc = ctypes.CDLL(None)
    done = libc.mallopt(_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    return "glibc, pages kept" if done else "glibc"


def choose_device() -> torch.device:
    """The accelerator (under torchrun the rank's own), where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cuda", torch.cuda.current_device())


def environment(device: torch.device) -> dict[str, Any]:
    """The machine as the ledger's `environment` line holds it."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "cpu": _cpu(),
        "allocator": keep_pages(),
        "platform": platform.platform(),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            rows = [row for row in file if row.startswith("model name")]
        return rows[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def quickest(
    choices: Iterable[Any],
    work: Callable[[Any], Any],
    *,
    seconds: float = 2.0,
    margin: float = 0.1,
    most: float = float("inf"),
) -> tuple[Any, dict[str, float]]:
    """The choice under which `work(choice)` takes the least time, and the times by choice.

    Rounds over all choices, interleaved, until about `seconds` are spent (at least one after the
    warm-up); the least time of each counts. The first choice is the rule: another must be
    quicker by `margin`, so that a noisy machine does not choose by chance. Where two rounds
    would take more than `most` seconds, it is the first.
    """
    choices = list(choices)
    best = {choice: float("inf") for choice in choices}
    begin, rounds = time.perf_counter(), 0
    while rounds < 2 or (rounds < 6 and time.perf_counter() - begin < seconds):
        for choice in choices:
            spent = _timed(work, choice)
            if not rounds and 2 * len(choices) * spent > most:
                return choices[0], {}
            best[choice] = min(best[choice], spent if rounds else float("inf"))
        rounds += 1
    chosen = min(choices, key=lambda c: best[c] * (1.0 if c == choices[0] else 1.0 + margin))
    return chosen, {str(choice): spent for choice, spent in best.items()}


def _timed(work: Callable[[Any], Any], choice: Any) -> float:
    start = time.perf_counter()
    work(choice)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def thread_choices() -> list[int]:
    """All threads that torch would take (OMP_NUM_THREADS and affinity count), half of them, one."""
    most = torch.get_num_threads()
    return sorted({most, max(1, most // 2), 1}, reverse=True)


def half_precision(device: torch.device) -> str:
    """The half precision worth trying here, or "float32" where there is none."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability()[0] >= 8 else "float16"
    found = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bfloat16" if any(getattr(torch.cpu, f, bool)() for f in found) else "float32"
