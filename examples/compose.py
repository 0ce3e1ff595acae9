"""Data sets for the tasks beyond classes, composed from a folder of small photographs.

    python examples/compose.py PHOTOS OUT {angle,count,brightness,pairs,masks,labels,shares} [--n 2000]

PHOTOS holds class folders of images (CIFAR-10 as files); OUT gets images and a manifest, or
images/ and masks/. All is drawn from a seed; images of test are other photographs than those of
train.

    angle       a photograph turned by up to 90 degrees to either side, a disc of it; target: degrees
    count       photographs pasted on a grey field, 1 to 6 of them; target: their number plus what
                share of the field they cover (two targets)
    brightness  a photograph, its exposure changed at random; target: the factor of exposure
    pairs       the same, as a manifest better,worse (the brighter is better)
    masks       discs cut from photographs of four classes, small and large, pasted on photographs
                of other classes; masks with background and the four classes
    labels      photographs of several classes in a grid of four; target: the classes that occur
    shares      two photographs blended at random; target: the share of each class
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
Photos = dict[str, list[Path]]


def photos(folder: Path, part: int) -> Photos:
    """The files of each class: part 0 the first four fifths, part 1 the rest."""
    found = {}
    for inner in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = sorted(inner.glob("*.*"))
        cut = len(files) * 4 // 5
        found[inner.name] = files[:cut] if part == 0 else files[cut:]
    return found


def opened(path: Path, side: int) -> Image.Image:
    return Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def drawn(
    known: Photos, draw: np.random.Generator, names: list[str] | None = None
) -> tuple[str, Path]:
    names = names or list(known)
    name = names[draw.integers(len(names))]
    return name, known[name][draw.integers(len(known[name]))]


def disc(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return x**2 + y**2 <= (side / 2) ** 2


def angle(known: Photos, draw: np.random.Generator) -> tuple[Image.Image, dict[str, object]]:
    turn = float(draw.uniform(-90, 90))
    image = np.asarray(opened(drawn(known, draw)[1], 32).rotate(turn, Image.Resampling.BICUBIC))
    image = np.where(disc(32)[..., None], image, 128).astype(np.uint8)
    return Image.fromarray(image), {"target": f"{turn:.3f}"}


def count(known: Photos, draw: np.random.Generator) -> tuple[Image.Image, dict[str, object]]:
    field, covered = np.full((SIDE, SIDE, 3), 128, np.uint8), np.zeros((SIDE, SIDE), bool)
    number = int(draw.integers(1, 7))
    for _ in range(number):
        side = int(draw.integers(10, 20))
        for _ in range(200):  # apart from each other
            y, x = draw.integers(0, SIDE - side, 2)
            if not covered[y : y + side, x : x + side].any():
                break
        field[y : y + side, x : x + side] = np.asarray(opened(drawn(known, draw)[1], side))
        covered[y : y + side, x : x + side] = True
    return Image.fromarray(field), {
        "target_number": number,
        "target_covered": f"{covered.mean():.4f}",
    }


def brightness(known: Photos, draw: np.random.Generator) -> tuple[Image.Image, dict[str, object]]:
    factor = float(np.exp(draw.uniform(np.log(0.4), np.log(1.8))))
    image = np.asarray(opened(drawn(known, draw)[1], 32)).astype(float) * factor
    return Image.fromarray(image.clip(0, 255).astype(np.uint8)), {"target": f"{factor:.4f}"}


def labels(known: Photos, draw: np.random.Generator) -> tuple[Image.Image, dict[str, object]]:
    field, held = np.full((64, 64, 3), 128, np.uint8), set()
    for k in range(4):
        if draw.random() < 0.6:
            name, path = drawn(known, draw, list(known)[:6])
            field[32 * (k // 2) :, 32 * (k % 2) :][:32, :32] = np.asarray(opened(path, 32))
            held.add(name)
    return Image.fromarray(field), {"target": ";".join(sorted(held))}


def shares(known: Photos, draw: np.random.Generator) -> tuple[Image.Image, dict[str, object]]:
    (a, first), (b, second) = drawn(known, draw), drawn(known, draw)
    share = float(draw.random())
    image = Image.blend(opened(second, 32), opened(first, 32), share)
    row = {f"target_{name}": 0.0 for name in known}
    row[f"target_{a}"] += share
    row[f"target_{b}"] += 1 - share
    return image, {key: f"{value:.4f}" for key, value in row.items()}


def masks(known: Photos, draw: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    names = list(known)
    objects, others = names[:4], names[4:]
    field = np.array(opened(drawn(known, draw, others)[1], SIDE))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(draw.integers(1, 4))):
        name, path = drawn(known, draw, objects)
        side = int(np.exp(draw.uniform(np.log(10), np.log(56))))  # scales from 10 to 56 pixels
        y, x = draw.integers(0, SIDE - side + 1, 2)
        inside = disc(side)
        field[y : y + side, x : x + side][inside] = np.asarray(opened(path, side))[inside]
        mask[y : y + side, x : x + side][inside] = 1 + objects.index(name)
    return Image.fromarray(field), mask


MAKERS: dict[str, Callable] = {
    "angle": angle, "count": count, "brightness": brightness, "labels": labels, "shares": shares,
}  # fmt: skip


def manifest(kind: str, out: Path, given: Photos, held: Photos, n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        split = "test" if i % 5 == 4 else "train"
        image, row = MAKERS[kind](held if split == "test" else given, draw)
        path = f"images/{i:05d}.png"
        image.save(out / path)
        rows.append({"path": path, **row, "split": split})
    written(out / "manifest.csv", rows)


def pairs(out: Path, given: Photos, held: Photos, n: int, seed: int) -> None:
    """Each image of train in three pairs with others of its split, in random order of the rows."""
    manifest("brightness", out, given, held, n, seed)
    with open(out / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    draw, found = np.random.default_rng(seed + 1), {}
    for split in ("train", "test"):
        own = [row for row in rows if row["split"] == split]
        cut = len(own) * 9 // 10 if split == "train" else 0
        parts = {"train": own[:cut], "validation": own[cut:]} if cut else {"test": own}
        for part, members in parts.items():
            for a in members:
                for k in draw.integers(0, len(members), 3):
                    two = sorted((a, members[k]), key=lambda row: -float(row["target"]))
                    if two[0]["target"] != two[1]["target"]:
                        found[two[0]["path"], two[1]["path"]] = part
    written(
        out / "manifest.csv", [{"better": a, "worse": b, "split": p} for (a, b), p in found.items()]
    )


def segmentation(out: Path, given: Photos, held: Photos, n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for i in range(n):
        split = "test" if i % 5 == 4 else "val" if i % 10 == 0 else "train"
        folder = out / split
        for inner in ("images", "masks"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        image, mask = masks(held if split == "test" else given, draw)
        image.save(folder / "images" / f"{i:05d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i:05d}.png")
    (out / "classes.txt").write_text("\n".join(["background", *list(given)[:4]]) + "\n")


def written(path: Path, rows: list[dict[str, object]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("kind", choices=[*MAKERS, "pairs", "masks"])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    known, held = photos(given.photos, 0), photos(given.photos, 1)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.kind == "masks":
        segmentation(given.out, known, held, given.n, given.seed)
        return
    (given.out / "images").mkdir(exist_ok=True)
    if given.kind == "pairs":
        pairs(given.out, known, held, given.n, given.seed)
    else:
        manifest(given.kind, given.out, known, held, given.n, given.seed)


if __name__ == "__main__":
    main()
