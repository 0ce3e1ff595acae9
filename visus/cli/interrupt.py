"""Ctrl-C while the program is still being read in: one line, and out.

Extension modules may swallow a KeyboardInterrupt that is raised inside their import: what was
being imported stays half done, and the command fails later for a reason that has nothing to do with it
("module 'numpy' has no attribute ..."). Nothing has been begun at that time, so nothing is lost.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

STATUS = 1  # the work did not get done
SLOW = ("visus.cli", "torch", "numpy")
heard: list[int] = []  # Ctrl-C that was raised as KeyboardInterrupt: somebody may have swallowed it


def hold() -> None:
    """From now on Ctrl-C leaves at once where one of the slow packages is being imported."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def release() -> None:
    """Ctrl-C does again what Python does with it."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: Any) -> None:
    if not any(_half(name) for name in SLOW):
        heard.append(number)
        signal.default_int_handler(number, frame)
    os.write(2, b"visus: interrupted while it was starting; nothing was begun\n")
    os._exit(STATUS)


def _half(name: str) -> bool:
    # What the import system itself goes by, to tell a module that is not yet whole.
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
