"""What leaves the cache: entries long unused, and the least recently used where it is too large.

An entry in use is locked by every process that reads it (a shared lock on its `meta.json`, held
until the process ends), and stays. Where locks do not exist, nothing is ever removed.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from visus.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

META = "meta.json"
LIMIT, MOST_GB, MOST_DAYS = "VISUS_CACHE_GB", 20.0, 60.0
_held: dict[Path, IO[bytes]] = {}


def hold(folder: Path) -> bool:
    """Lock an entry as in use and note the time; False where it is being removed or is gone."""
    try:
        file = open(folder / META, "rb")  # noqa: SIM115 - open as long as the process
    except OSError:
        return False
    if not _locked(file, shared=True):
        file.close()
        return False
    _held[folder] = file
    with suppress(OSError):  # a cache that others own is read all the same
        os.utime(folder / META)
    return True


def _locked(file: IO[bytes], *, shared: bool) -> bool:
    """Whether the lock could be had at once, on a file that is still there."""
    if fcntl is None:
        return shared
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def make_room(home: Path, need: int, now: float | None = None) -> str:
    """Remove entries below `home` so that `need` bytes more keep the cache within its limits.

    Returns one sentence that says what was removed, or "".
    """
    entries = sorted(_entries(home))
    left, gone = sum(size for _, size, _ in entries) + need, []
    now, most = time.time() if now is None else now, _most()
    for used, size, folder in entries:
        old = now - used > MOST_DAYS * 86400
        if (old or left > most) and _removed(folder):
            left -= size
            gone.append((size, now - used))
    return _sentence(gone, home)


def _entries(home: Path) -> list[tuple[float, int, Path]]:
    """Last use, bytes and folder of each entry."""
    found = []
    for meta in home.glob(f"*/{META}"):
        with suppress(OSError):  # gone meanwhile
            size = sum(file.stat().st_size for file in meta.parent.iterdir())
            found.append((meta.stat().st_mtime, size, meta.parent))
    return found


def _removed(folder: Path) -> bool:
    """Remove an entry that nobody reads."""
    if folder in _held:
        return False
    try:
        with open(folder / META, "rb") as file:
            if not _locked(file, shared=False):
                return False
            # Named as what killed processes leave behind: somebody sweeps it up if we are killed.
            gone = folder.with_name(f".making-gone-{folder.name}")
            os.rename(folder, gone)
            (gone / META).unlink()  # who has it open already sees that it is gone
            shutil.rmtree(gone, ignore_errors=True)
    except OSError:
        return False
    return True


def _most() -> float:
    """Bytes that the cache may hold."""
    given = os.environ.get(LIMIT, "")
    try:
        return (float(given) if given else MOST_GB) * 1e9
    except ValueError:
        raise UsageError(f"cache: {LIMIT} = {given!r}; give gigabytes, such as 20") from None


def _sentence(gone: list[tuple[int, float]], home: Path) -> str:
    if not gone:
        return ""
    size, last = sum(size for size, _ in gone) / 1e6, min(age for _, age in gone) / 86400
    entries = "1 data set" if len(gone) == 1 else f"{len(gone)} data sets"
    return (
        f"cache: removed {entries} of decoded images ({size:,.0f} MB, unused for {last:.0f} days or "
        f"more) from {home}; {LIMIT} sets how many gigabytes it may hold, now {_most() / 1e9:g}"
    )
