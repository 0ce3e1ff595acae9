"""Ctrl-Z: the terminal is given back before the process stops, and taken again when it goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

STOP = getattr(signal, "SIGTSTP", None)  # no such signal on Windows


class Halt:
    """Calls `leave` before the process is stopped from the keyboard and `back` when it continues.

    Does nothing outside the main thread, and nothing where the program handles the signal itself.
    """

    def __init__(self, leave: Callable[[], None], back: Callable[[], None]):
        self.leave, self.back, self.installed = leave, back, False

    def install(self) -> None:
        """Begin to listen."""
        main = threading.current_thread() is threading.main_thread()
        if main and STOP is not None and signal.getsignal(STOP) is signal.SIG_DFL:
            signal.signal(STOP, self._stopped)
            self.installed = True

    def remove(self) -> None:
        """The signal does again what it did before."""
        main = threading.current_thread() is threading.main_thread()
        if self.installed and main and STOP is not None:
            if signal.getsignal(STOP) == self._stopped:
                signal.signal(STOP, signal.SIG_DFL)
            self.installed = False

    def away(self, stream: Any) -> bool:
        """Was the process continued in the background? Then the terminal is another's."""
        try:
            return self.installed and os.tcgetpgrp(stream.fileno()) != os.getpgrp()
        except (OSError, ValueError, AttributeError):
            return False

    def _stopped(self, number: int, frame: Any) -> None:
        self.leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here; what follows runs when the process continues
        signal.signal(number, self._stopped)
        self.back()
