"""A status line at the foot of a terminal, outside the part that scrolls.

The last row is taken out of the terminal's scroll region, so whatever the program prints, by
whatever means (Python, C, a child process, a progress bar), scrolls above it and is not touched.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

LEAST = 5  # rows; a smaller terminal is left alone


class Foot:
    """One line of text on the last row of the terminal behind `stream`.

    Writes nothing where `stream` is no terminal. The row is given back by `close`, at the end
    of the process at the latest.
    """

    def __init__(self, stream: Any):
        self.stream, self.size = stream, (0, 0)

    def width(self) -> int:
        """The columns that a line may fill; 0 where there is no room for one."""
        size = self._measure()
        return size[1] - 1 if size[0] >= LEAST else 0

    def show(self, text: str) -> None:
        """Put `text` (one line, may carry colors, no wider than `width()`) on the last row."""
        size = self._measure()
        if size[0] < LEAST:
            return self.close()
        if size != self.size:
            self._reserve(size)
        # Cursor saved, moved, line cleared and written, cursor back: one write, so that no
        # output of the program falls between.
        self._write(f"\x1b7\x1b[{size[0]};1H\x1b[2K{text}\x1b[0m\x1b8")
        return None

    def close(self) -> None:
        """Clear the row and let the whole terminal scroll again."""
        if self.size[0]:
            self._write(f"\x1b7\x1b[r\x1b[{self.size[0]};1H\x1b[2K\x1b8")
            self.size = (0, 0)
            atexit.unregister(self.close)

    def _reserve(self, size: tuple[int, int]) -> None:
        if not self.size[0]:
            atexit.register(self.close)
        self.size = size
        # Index and cursor up: a free row below the cursor, its column kept. Setting the region
        # moves the cursor, so it is saved around it.
        self._write(f"\x1bD\x1b[1A\x1b7\x1b[1;{size[0] - 1}r\x1b8")

    def _measure(self) -> tuple[int, int]:
        try:
            found = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError, AttributeError):
            return 0, 0
        return found.lines, found.columns

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # the terminal is gone: the program is not
            self.size = (0, 0)
