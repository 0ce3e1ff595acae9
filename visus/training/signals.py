"""Ctrl-C and SIGTERM end a run at its next step; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_signal(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop(name)` at the first SIGINT or SIGTERM; then they do again what they did before.

    Outside the main thread, where Python allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def back(*_: object) -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def first(number: int, frame: object) -> None:
        back()
        stop(f"signal {signal.Signals(number).name}")

    try:
        for number in before:
            signal.signal(number, first)
        yield
    finally:
        back()
