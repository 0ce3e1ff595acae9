"""The run's record: an append-only file of JSON lines, `ledger.jsonl`.

Each line is one event: {"kind": ..., "t": seconds since 1970, ...}. Nothing is ever
rewritten. A process that dies while it writes leaves a torn last line: the reader passes
over it, and the next writer starts on a line of its own. The report, the terminal view and
every plot are built from these lines alone. No torch here.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from visus.errors import RunError

Line = dict[str, Any]
NAME = "ledger.jsonl"


def plain(value: Any) -> Any:
    """`value` as JSON allows it: numbers that are not finite become strings, paths too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):  # NumPy and torch numbers and arrays, without importing them
        return plain(value.tolist())
    return str(value)


class Ledger:
    """Appends lines to the ledger of the run in `folder`; `on` is called with each of them.

    `folder=None` keeps the lines in memory only (`self.lines`), for use without a run.
    """

    def __init__(self, folder: str | Path | None = None, *, on: Iterable[Callable] = ()):
        self.path = Path(folder) / NAME if folder is not None else None
        self.listeners, self.lines = list(on), []
        if self.path is not None:
            self._mend()

    def _mend(self) -> None:
        # A torn last line gets its newline, so that the next line is whole.
        assert self.path is not None
        if self.path.exists() and (data := self.path.read_bytes()) and not data.endswith(b"\n"):
            self._append(b"\n")

    def _append(self, data: bytes) -> None:
        assert self.path is not None
        try:
            with open(self.path, "ab", buffering=0) as file:
                file.write(data)
        except OSError as error:
            raise RunError(
                f"ledger: cannot write {self.path}: {error.strerror}; free space or choose another --out"
            ) from None

    def write(self, kind: str, /, **fields: Any) -> Line:
        """Append one event and tell the listeners. Returns the line as it was written."""
        line = {"kind": kind, "t": round(time.time(), 3), **plain(fields)}
        if self.path is None:
            self.lines.append(line)
        else:
            self._append(json.dumps(line, allow_nan=False).encode() + b"\n")
        for listener in self.listeners:
            listener(line)
        return line

    def sync(self) -> None:
        """Have what was written reach the disk (checkpoints call this first)."""
        if self.path is not None and self.path.exists():
            with open(self.path, "ab") as file:
                os.fsync(file.fileno())


def read(folder: str | Path) -> list[Line]:
    """All whole lines of a run's ledger (or of a ledger file), torn lines left out."""
    path = Path(folder)
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise RunError(f"run: no ledger at {path}; give a folder that 'visus train' wrote")
    found = (_parse(row) for row in path.read_bytes().splitlines())
    return [line for line in found if line is not None]


def _parse(row: bytes) -> Line | None:
    try:
        line = json.loads(row)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "kind" in line else None


def history(lines: Iterable[Line]) -> list[Line]:
    """The lines as the run counts them: what a resume took back is left out.

    A killed run may have logged steps after its last checkpoint; a "resume" line carries the
    `step` it went on from, and the step and epoch lines beyond that step are repeated later.
    """
    kept: list[Line] = []
    for line in lines:
        if line["kind"] == "resume":
            kept = [old for old in kept if not _beyond(old, line["step"])]
        kept.append(line)
    return kept


def _beyond(line: Line, step: int) -> bool:
    return line["kind"] in ("step", "epoch", "plan") and line.get("step", 0) > step


def select(lines: Iterable[Line], kind: str) -> list[Line]:
    """The lines of one kind, in order."""
    return [line for line in lines if line["kind"] == kind]


def last(lines: Iterable[Line], kind: str) -> Line | None:
    """The newest line of one kind, or None."""
    found = select(lines, kind)
    return found[-1] if found else None
