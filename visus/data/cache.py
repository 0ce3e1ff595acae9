"""Decoded images on disk, so that the next run starts at once.

An entry is a folder named by the checksum of all it depends on (the content of every image, in
order, what was asked for, the version of Pillow): `pixels.u8` holds `(n, C, H, W)` bytes,
`moments.npy` the sums of each plane, `meta.json` the shape and which images could not be
decoded. Where the images are too many to keep there is no `pixels.u8`. An entry is written
under a temporary name, synced and renamed: two processes may make the same one, the first wins.
Deleting entries, or all of the folder, is always safe; `evict.py` does so where there are too many.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import __version__ as pillow

from visus.data.decoding import Block
from visus.data.evict import META, hold, make_room
from visus.data.found import Shape
from visus.data.wish import Wish
from visus.errors import DataError

VERSION = 1
MOMENTS, PIXELS = "moments.npy", "pixels.u8"
ABANDONED = 24 * 3600.0  # seconds after which a temporary folder belongs to nobody


class Content(NamedTuple):
    """What an entry holds; `pixels` is None where they were too many to keep."""

    shape: Shape
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
    """The place of `n` images in the cache."""

    folder: Path
    n: int

    @classmethod
    def of(cls, sums: list[str], wish: Wish, folder: str | Path | None = None) -> Entry:
        """The entry for images with these checksums, decoded as `wish` says."""
        key = hashlib.sha256(f"{VERSION} {pillow} {wish.channels} {wish.size}\n".encode())
        key.update("\n".join(sums).encode())
        return cls(home(folder) / "images" / key.hexdigest()[:32], len(sums))

    def read(self) -> Content | None:
        """The content, pixels mapped and not read; None where no sound entry is there.

        From now on the entry is in use by this process.
        """
        if not hold(self.folder):
            return None
        try:
            meta = json.loads((self.folder / META).read_text())
            channels, height, width = meta["shape"]
            moments = np.load(self.folder / MOMENTS, allow_pickle=False)
            bad = {int(i): reason for i, reason in meta["bad"].items()}
            whole = (self.n, channels, height, width)
            pixels = self._map(whole) if meta["pixels"] else None
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        sound = moments.shape == (self.n, channels, 2)
        return Content((channels, height, width), pixels, moments, bad) if sound else None

    def _map(self, whole: tuple[int, int, int, int]) -> np.ndarray:
        path = self.folder / PIXELS
        if path.stat().st_size != int(np.prod(whole)):
            raise ValueError("not all of the pixels are there")
        # Copy-on-write: torch asks for memory that may be written, the file never is.
        return np.memmap(path, np.uint8, mode="c", shape=whole)

    def write(
        self, blocks: Iterable[Block], shape: Shape, *, pixels: bool,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:  # fmt: skip
        """Make the entry from all its blocks, or nothing; one of another process is replaced.

        `say` is told, in one line, what had to leave the cache.
        """
        need = self.n * shape[0] * shape[1] * shape[2] if pixels else 0
        with self._trouble(need):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder.parent)
            if gone := make_room(self.folder.parent, need):
                say(gone)
            if shutil.disk_usage(self.folder.parent).free < need:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder.parent))
            try:
                _fill(temporary, blocks, shape, pixels)
                self._publish(temporary, pixels)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _publish(self, temporary: Path, pixels: bool) -> None:
        held = self.read()
        if held is not None and (held.pixels is not None or not pixels):
            return  # another process was faster
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        try:
            os.rename(temporary, self.folder)
        except OSError:
            if self.read() is None:
                raise

    @contextmanager
    def _trouble(self, need: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(
                f"cache: cannot keep {need / 1e6:,.0f} MB of decoded images in "
                f"{self.folder.parent}: {reason}; free space, set VISUS_CACHE to a folder on "
                "another disk, or decode anew in each epoch with --set data.budget_mb=1"
            ) from None


def _fill(folder: Path, blocks: Iterable[Block], shape: Shape, pixels: bool) -> None:
    moments, bad, at = [np.zeros((0, shape[0], 2), np.int64)], {}, 0
    # Written, not mapped: a full disk is then an error and not a killed process.
    with open(folder / PIXELS, "wb") as file:
        for block in blocks:
            if pixels:
                file.write(block.pixels.data)
            moments.append(block.moments)
            bad |= {str(at + i): reason for i, reason in block.bad.items()}
            at += len(block.pixels)
        file.flush()
        os.fsync(file.fileno())
    np.save(folder / MOMENTS, np.concatenate(moments))
    meta = {"version": VERSION, "shape": list(shape), "pixels": pixels, "bad": bad}
    (folder / META).write_text(json.dumps(meta))


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for path in folder.glob(".making-*"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
