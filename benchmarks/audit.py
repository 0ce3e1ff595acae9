"""Does the audit find what was planted in CIFAR-10, and only that?

python benchmarks/audit.py FOLDER PART...   FOLDER: CIFAR-10 as train/ and test/ class folders

Parts: copies (100 test images planted in train: JPEG at another quality, shifted by a pixel,
mirrored; and the real near copies, with a sheet of pairs to look at: --sheet FILE),
labels (0, 5 and 20 % wrong labels), drift (test darker or encoded again; and untouched). Every
part prints what was planted, found, and how long it took; `labels` keeps its features in --keep.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from visus.data import audit as parts
from visus.data import prepare
from visus.ledger import Ledger

SHEET = 96


class Held:
    """Images in memory."""

    def __init__(self, pixels, names):
        self.pixels, self.names = pixels, names

    def __len__(self):
        return len(self.pixels)

    def batch(self, indices):
        return self.pixels[indices]


def held(images):
    return Held(images.batch(torch.arange(len(images))), list(images.names))


def encoded(image, quality):
    out = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(out, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(out))).permute(2, 0, 1)


PLANTS = {
    "quality 75": lambda x: encoded(x, 75),
    "quality 40": lambda x: encoded(x, 40),
    "shifted": lambda x: torch.roll(x, (1, 1), (1, 2)),
    "mirrored": lambda x: x.flip(2),
    "all three": lambda x: encoded(torch.roll(x.flip(2), 1, 2), 60),
}


def copies(train, test, args):
    draw = torch.Generator().manual_seed(7)
    chosen = torch.randperm(len(test), generator=draw)[:100].tolist()
    victims = torch.randperm(len(train), generator=draw)[:100].tolist()
    kinds = [list(PLANTS)[k % len(PLANTS)] for k in range(100)]
    planted = Held(train.pixels.clone(), train.names)
    for k, (source, victim) in enumerate(zip(chosen, victims, strict=True)):
        planted.pixels[victim] = PLANTS[kinds[k]](test.pixels[source])
    start = time.perf_counter()
    both = parts.Joined([planted, test])
    found = parts.find_copies(both)
    seconds = time.perf_counter() - start
    where = both.part(found.pairs.flatten()).reshape(-1, 2)
    cross = found.take((where[:, 0] != where[:, 1]).nonzero()[:, 0])
    named = {tuple(p) for p in cross.pairs.tolist()}
    for kind in PLANTS:
        mine = [
            (v, len(train) + s) for v, s, k in zip(victims, chosen, kinds, strict=True) if k == kind
        ]
        print(f"planted, {kind}: {sum(p in named for p in mine)} of {len(mine)} found")
    real = cross.take(
        torch.tensor(
            [k for k, p in enumerate(cross.pairs.tolist()) if p[0] not in set(victims)],
            dtype=torch.int64,
        )
    )
    hit = real.pairs[:, 1].unique()
    print(
        f"real near copies between train and test: {len(real)} pairs, {len(hit)} test images ({len(hit) / len(test):.2%})"
    )
    print(
        f"{len(both):,} images in {seconds:.0f} s, {len(found)} pairs in all, {int(real.mirrored.sum())} real ones mirrored"
    )
    if args.sheet:
        sheet(both, real, args.sheet)


def sheet(both, found, file):
    """A random sample of the pairs, one above... side by side, to be counted by eye."""
    rows = torch.randperm(len(found), generator=torch.Generator().manual_seed(3))[:SHEET].tolist()
    canvas = Image.new("RGB", (12 * 136, (len(rows) + 11) // 12 * 72), "white")
    for k, row in enumerate(rows):
        pair = both.batch(found.pairs[row])
        pair[1] = pair[1].flip(2) if found.mirrored[row] else pair[1]
        for side in (0, 1):
            tile = Image.fromarray(pair[side].permute(1, 2, 0).numpy()).resize((64, 64))
            canvas.paste(tile, (k % 12 * 136 + 65 * side, k // 12 * 72))
    canvas.save(file)


def learned(train, test, args):
    """Features of all train images and of 3,000 test images, kept between calls."""
    if args.keep and Path(args.keep).exists():
        return torch.load(args.keep, weights_only=True)
    start = time.perf_counter()
    words = parts.Words(train, torch.arange(len(train)))
    rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:3000]
    x = parts.features(train, words, torch.arange(len(train)))
    found = {"train": x, "test": parts.features(test, words, rows), "rows": rows}
    print(f"features of {len(train) + 3000:,} images: {time.perf_counter() - start:.0f} s")
    if args.keep:
        torch.save(found, args.keep)
    return found


def labels(train, test, targets, args):
    x = learned(train, test, args)["train"]
    for share in (0.0, 0.05, 0.2):
        draw = torch.Generator().manual_seed(11)
        wrong = torch.rand(len(x), generator=draw) < share
        other = (targets + torch.randint(1, 10, (len(x),), generator=draw)) % 10
        given = torch.where(wrong, other, targets)
        start = time.perf_counter()
        seen = parts.suspects(parts.out_of_fold(x, given, 10), given)
        print(
            f"planted {share:.0%} wrong labels: estimated {seen.share:.1%}, out-of-fold error {seen.error:.1%}, {time.perf_counter() - start:.0f} s"
        )
        cuts = (
            ("all suspects", len(seen.rows)),
            ("the estimated share", int(seen.share * len(x))),
            ("first 500", 500),
        )
        for name, n in cuts if share else ():
            hits = wrong[seen.rows[:n]]
            print(
                f"  {name} ({len(hits)}): precision {hits.double().mean():.1%}, recall {hits.sum() / wrong.sum():.1%}"
            )


DRIFTS = {
    "untouched": lambda x: x,
    "5 % darker": lambda x: (x.float() * 0.95).to(torch.uint8),
    "quality 50": lambda x: torch.stack([encoded(image, 50) for image in x]),
    "blurred": lambda x: torch.nn.functional.avg_pool2d(x.float(), 3, 1, 1).to(torch.uint8),
    "a class left out": None,
}


def drift(train, test, targets, args):
    draw = torch.Generator().manual_seed(5)
    some = torch.randperm(len(train), generator=draw)
    first, second = Held(train.pixels[some[:3000]], []), some[3000:6000]
    words = parts.Words(first, torch.arange(3000))

    def seen(images):
        rows = torch.arange(len(images))
        return parts.looks(images, rows), parts.features(images, words, rows)

    base = seen(first)
    for name, change in DRIFTS.items():
        for source, pixels in (("train half", train.pixels[second]), ("test", test.pixels[:3000])):
            if change is None and source == "test":
                continue
            keep = pixels if change is not None else train.pixels[second[targets[second] != 3]]
            looked, x = seen(Held(change(keep) if change else keep, []))
            found = parts.compare(base[0], looked, base[1], x)
            print(f"drift, {name}, {source}: accuracy {found.accuracy:.1%}, p = {found.p:.2g}")


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("folder")
    parser.add_argument("part", nargs="*", default=["copies", "labels", "drift"])
    parser.add_argument("--sheet", help="write a sheet of real pairs here")
    parser.add_argument("--keep", help="keep the features in this file")
    args = parser.parse_args()
    dataset = prepare(args.folder, validation=0.0)
    train, test = held(dataset.train), held(dataset.vault.look("benchmark of the audit", Ledger()))
    if "copies" in args.part:
        copies(train, test, args)
    if "labels" in args.part:
        labels(train, test, dataset.train.targets, args)
    if "drift" in args.part:
        drift(train, test, dataset.train.targets, args)


if __name__ == "__main__":
    main()
