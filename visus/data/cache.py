"""Decoded images on disk, so that the next run starts at once.

An entry is a folder named by the checksum of all it depends on (the content of every image, in
order, what they are decoded to, the version of Pillow): `pixels.u8` holds `(n, C, H, W)` bytes,
`moments.npy` the sums of each plane, `meta.json` the shape and which images could not be
decoded. It is written under a temporary name, synced and renamed: two processes may make the
same entry, the first one wins. Deleting entries, or all of the folder, is always safe.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import __version__ as pillow

from visus.errors import DataError

VERSION = 1
META, MOMENTS, PIXELS = "meta.json", "moments.npy", "pixels.u8"
ABANDONED = 24 * 3600.0  # seconds after which a temporary folder belongs to nobody


class Block(NamedTuple):
    """Some decoded images: pixels, their moments, and reasons for those that failed."""

    pixels: np.ndarray
    moments: np.ndarray
    bad: dict[int, str]


class Content(NamedTuple):
    """What an entry holds; `pixels` is None where they were too many to keep."""

    pixels: np.ndarray | None
    moments: np.ndarray
    bad: dict[int, str]


def home(folder: str | Path | None = None) -> Path:
    """The cache folder: as told, else $VISUS_CACHE, else ~/.cache/visus."""
    given = folder or os.environ.get("VISUS_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "visus"


@dataclass(frozen=True)
class Entry:
    """One place in the cache."""

    folder: Path
    shape: tuple[int, int, int, int]
    pixels: bool

    @classmethod
    def of(
        cls, sums: list[str], full: tuple[int, int, int], *, pixels: bool,
        folder: str | Path | None = None,
    ) -> Entry:  # fmt: skip
        """The entry for images with these checksums, decoded to `full` = (C, H, W)."""
        key = hashlib.sha256(f"{VERSION} {pillow} {full} {pixels}\n".encode())
        key.update("\n".join(sums).encode())
        place = home(folder) / "images" / key.hexdigest()[:32]
        return cls(place, (len(sums), *full), pixels)

    def exists(self) -> bool:
        """Whether a whole entry is there; half of one (a lost disk block) is made anew."""
        held = (self.folder / META).is_file() and (self.folder / MOMENTS).is_file()
        if not held or not self.pixels:
            return held
        path = self.folder / PIXELS
        return path.is_file() and path.stat().st_size == self._bytes

    @property
    def _bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) if self.pixels else 0

    def read(self) -> Content:
        """The content; pixels are mapped, not read."""
        meta = json.loads((self.folder / META).read_text())
        moments = np.load(self.folder / MOMENTS, allow_pickle=False)
        bad = {int(i): reason for i, reason in meta["bad"].items()}
        if not self.pixels:
            return Content(None, moments, bad)
        if not self._bytes:
            return Content(np.zeros(self.shape, np.uint8), moments, bad)
        # Copy-on-write: torch asks for memory that may be written, the file never is.
        mapped = np.memmap(self.folder / PIXELS, np.uint8, mode="c", shape=self.shape)
        return Content(mapped, moments, bad)

    def write(self, blocks: Iterable[Block]) -> None:
        """Make the entry from all its blocks, or nothing."""
        with self._trouble():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder.parent)
            if shutil.disk_usage(self.folder.parent).free < self._bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder.parent))
            try:
                self._fill(temporary, blocks)
                self._publish(temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _fill(self, folder: Path, blocks: Iterable[Block]) -> None:
        moments, bad, at = [], {}, 0
        # Written, not mapped: a full disk is then an error and not a killed process.
        with open(folder / PIXELS, "wb") as file:
            for block in blocks:
                if self.pixels:
                    file.write(block.pixels.data)
                moments.append(block.moments)
                bad |= {str(at + i): reason for i, reason in block.bad.items()}
                at += len(block.pixels)
            file.flush()
            os.fsync(file.fileno())
        planes = (0, self.shape[1], 2)
        np.save(folder / MOMENTS, np.concatenate([np.zeros(planes, np.int64), *moments]))
        meta = {"version": VERSION, "shape": list(self.shape), "pixels": self.pixels, "bad": bad}
        (folder / META).write_text(json.dumps(meta))

    def _publish(self, temporary: Path) -> None:
        if self.exists():  # another process was faster
            return
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        try:
            os.rename(temporary, self.folder)
        except OSError:
            if not self.exists():
                raise

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(
                f"cache: cannot keep {self._bytes / 1e6:,.0f} MB of decoded images in "
                f"{self.folder.parent}: {reason}; free space, set VISUS_CACHE to a folder on "
                "another disk, or decode anew in each epoch with --set data.budget_mb=1"
            ) from None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for path in folder.glob(".making-*"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
