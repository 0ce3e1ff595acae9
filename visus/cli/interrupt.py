"""Ctrl-C while a package is being read in: one line, and out.

An import may swallow the KeyboardInterrupt that is raised in it: extension modules turn it into
another error, and what the import system calls back when a lock goes away drops it. The command then
fails later for a reason that has nothing to do with it ("module 'numpy' has no attribute ..."), or
goes on as if nobody had asked. Files are replaced whole, so what is finished stays.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

STATUS = 1  # the work did not get done
IMPORTS = "<frozen importlib._bootstrap>"  # the file that Python's import system says it is in
heard: list[int] = []  # Ctrl-C that was raised as KeyboardInterrupt: somebody may have swallowed it


def hold() -> None:
    """From now on Ctrl-C leaves at once where a package is being imported."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def release() -> None:
    """Ctrl-C does again what Python does with it."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: Any) -> None:
    if not _importing(frame):
        heard.append(number)
        signal.default_int_handler(number, frame)
    os.write(2, b"visus: interrupted while it was reading in its packages; start it again\n")
    os._exit(STATUS)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != IMPORTS:
        frame = frame.f_back
    return frame is not None
