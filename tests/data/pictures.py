"""Small folders of images for the tests of data, every image different and known by its number."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def noise(number: int, size: tuple[int, int] = (10, 12), channels: int = 3) -> np.ndarray:
    """uint8 (H, W, 3) or (H, W), a function of the number."""
    draw = np.random.default_rng(number)
    shape = (*size, 3) if channels == 3 else size
    return draw.integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def classes(folder: Path, counts: dict[str, int], *, first: int = 0, **options) -> Path:
    """A folder of class folders of PNG files."""
    number = first
    for name, n in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            save(folder / name / f"{i:03d}.png", noise(number, **options))
            number += 1
    return folder


def encoded(pixels: np.ndarray, form: str = "JPEG", **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few hundred bytes that claims side x side pixels."""
    head = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 4096)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body
