"""How fast are images decoded, kept, fetched and jittered? Each against the plain way, interleaved.

    python benchmarks/data.py [FOLDER of class folders] [--images N]

Without a folder it makes JPEGs of 32x32 itself. The peer of decoding is a plain Pillow loop that
opens, converts and stacks every file, with no checksum, no check and no cache; the peer of jitter
is the same crop and flip done image by image.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from visus.data import Jitter, prepare


def best(seconds: dict[str, list[float]], name: str, work: Callable[[], object]) -> None:
    """Time one call and note it."""
    start = time.perf_counter()
    work()
    seconds.setdefault(name, []).append(time.perf_counter() - start)


def make_images(folder: Path, n: int) -> Path:
    """`n` JPEGs of 32x32 in ten class folders."""
    draw = np.random.default_rng(0)
    for i in range(n):
        path = folder / f"class{i % 10}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((32, 32)).save(path)
    return folder


def some_of(folder: Path, n: int, into: Path) -> Path:
    """Links to `n` files of the folder, in its class folders."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    for path in random.Random(0).sample(files, min(n, len(files))):
        link = into / path.parent.name / f"{path.parent.parent.name}-{path.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return into


def plain(folder: Path) -> np.ndarray:
    """What one would write in a minute."""
    found = []
    for name in sorted(os.listdir(folder)):
        for file in sorted(os.listdir(folder / name)):
            with Image.open(folder / name / file) as image:
                found.append(np.asarray(image.convert("RGB")))
    return np.stack(found)


def decoding(folder: Path, rounds: int = 3) -> None:
    """Scan + checksum + decode + cache, from nothing and the second time, against `plain`."""
    seconds: dict[str, list[float]] = {}
    n = len(plain(folder))
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(rounds):
            shutil.rmtree(Path(cache) / "images", ignore_errors=True)
            best(seconds, "plain Pillow loop", lambda: plain(folder))
            best(seconds, "prepare, first time", lambda: prepare(folder, cache=cache))
            best(seconds, "prepare, from the cache", lambda: prepare(folder, cache=cache))
    table(f"{n} images of {folder}", seconds, "plain Pillow loop", n)


def loop(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Crop and flip, image by image."""
    padded = torch.nn.functional.pad(images, (padding,) * 4, mode="reflect")
    out, side = torch.empty_like(images), images.shape[2]
    for i in range(len(images)):
        y, x = random.randrange(2 * padding + 1), random.randrange(2 * padding + 1)
        window = padded[i, :, y : y + side, x : x + side]
        out[i] = window.flip(2) if random.random() < 0.5 else window
    return out


def jittering(rounds: int = 20) -> None:
    """Crop + flip of (512, 3, 32, 32) floats, in both layouts, against the loop; and a batch."""
    pixels = torch.randint(0, 256, (20_000, 32, 32, 3), dtype=torch.uint8)
    data = prepare((pixels, torch.arange(20_000) % 10), test=0)
    images, targets = torch.rand(512, 3, 32, 32), torch.arange(512) % 10
    last = images.contiguous(memory_format=torch.channels_last)
    jitter = Jitter({"flip": {}, "crop": {"padding": 4}}, classes=10)
    order = torch.randperm(len(data.train))[:512]
    seconds: dict[str, list[float]] = {}
    for step in range(rounds):
        best(seconds, "image by image", lambda: loop(images, 4))
        best(seconds, "Jitter", lambda s=step: jitter(images, targets, 0, s))
        best(seconds, "Jitter, channels last", lambda s=step: jitter(last, targets, 0, s))
        best(seconds, "fetch the batch", lambda: data.train.batch(order))
        best(seconds, "bytes to floats", lambda: data.train.batch(order).float().div_(255))
    table("flip + crop of (512, 3, 32, 32)", seconds, "image by image", 512)


def table(title: str, seconds: dict[str, list[float]], peer: str, n: int) -> None:
    """Best time of each, images a second, and how many times faster than the peer."""
    print(f"\n{title}  ({torch.get_num_threads()} torch threads)")
    base = min(seconds[peer])
    for name, times in seconds.items():
        t = min(times)
        print(f"  {name:26} {t * 1e3:10.1f} ms {n / t:12,.0f} images/s {base / t:8.2f} x")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=6000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if given.folder:
            folder = some_of(given.folder, given.images, Path(made))
        else:
            folder = make_images(Path(made), given.images)
        decoding(folder)
    jittering()


if __name__ == "__main__":
    main()
