"""Work on many images by a few threads, in order, with bounded memory, stopped at once by Ctrl-C.

Threads and not processes: Pillow, hashing and file reads let other threads run, and a process
would have to import torch first.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from visus.data.decode import quiet

T = TypeVar("T")
CHUNK = 64  # images a task: a few milliseconds of small files


def processors() -> int:
    """Processors that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def chunks(n: int, size: int = CHUNK) -> list[range]:
    """0 ... n-1 in runs of `size`."""
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def in_order(
    work: Callable[[int], T], parts: Sequence[range], workers: int | None = None
) -> Iterator[list[T]]:
    """`[work(i) for i in part]` for each part, in order; at most 4 parts a worker are ahead.

    An error of `work` or of the consumer, Ctrl-C included, ends all workers at the next image.
    """
    count = processors() if workers is None else workers
    if count <= 1:
        with quiet():
            for part in parts:
                yield [work(i) for i in part]
        return
    stop = threading.Event()

    def task(part: range) -> list[T]:
        return [work(i) for i in part if not stop.is_set()]

    with quiet(), ThreadPoolExecutor(count, thread_name_prefix="visus-data") as pool:
        try:
            yield from _window(pool, task, parts, 4 * count)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _window(
    pool: ThreadPoolExecutor, task: Callable[[range], Any], parts: Sequence[range], ahead: int
) -> Iterator[Any]:
    waiting: deque[Future] = deque()
    for part in parts:
        waiting.append(pool.submit(task, part))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
