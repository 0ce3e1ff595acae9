"""Does the audit find what was planted in CIFAR-10, and only that?

python benchmarks/audit.py FOLDER PART...   FOLDER: CIFAR-10 as train/ and test/ class folders

Parts: copies (100 test images planted in train: JPEG at another quality, shifted by a pixel,
mirrored; and the real near copies, with sheets of pairs to look at in the folder --sheet),
labels (0, 5 and 20 % wrong labels), drift (test darker or encoded again; and untouched). Every
part prints what was planted, found, and how long it took; `labels` keeps the answers of each net
in the folder --keep and goes on there.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from visus.api import audit_net
from visus.api.audit_net import dealt
from visus.data import audit as parts
from visus.data import prepare
from visus.data.audit.linear import sharpened
from visus.data.batches import seed_of
from visus.ledger import Ledger


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
    judged(both, real, len(train), args)


def judged(both, real, n, args):
    """Are the named pairs copies? A measure that had no part in naming them, and pictures.

    One pair for each test image, 60 of them at random, and the 30 that agree least; compared
    with the nearest training image, pixel by pixel, of test images that no pair names.
    """
    draw = torch.Generator().manual_seed(3)
    seen, once = set(), []
    for row, (_, j) in enumerate(real.pairs.tolist()):
        once += [row] if j not in seen else []
        seen.add(j)
    least = torch.tensor(once[-30:])
    some = torch.tensor(once)[torch.randperm(len(once), generator=draw)[:60]].sort().values
    others = torch.tensor([j for j in range(n, len(both)) if j not in seen])
    others = others[torch.randperm(len(others), generator=draw)[:200]]
    controls = torch.stack([nearest(both, others, n), others], 1)
    usual = apart(both, controls, torch.zeros(len(controls), dtype=torch.bool))
    limit = float(usual.quantile(0.01))
    print(
        f"not named, nearest of train: residual median {usual.median():.1f}, 1st percentile {limit:.1f} of 255"
    )
    for name, rows in (("random 60", some), ("least agreeing 30", least)):
        left = apart(both, real.pairs[rows], real.mirrored[rows])
        print(
            f"{name}: residual median {left.median():.1f}, largest {left.max():.1f}; {int((left > limit).sum())} of {len(rows)} above that 1st percentile"
        )
        if args.sheet:
            sheet(both, real.take(rows), Path(args.sheet) / f"{name.replace(' ', '-')}.png", left)


def nearest(both, rows, n):
    """The training image of the least squared difference, pixel by pixel."""
    wanted = both.batch(rows).float().flatten(1)
    best, which = torch.full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for part in torch.arange(n).split(2000):
        far = torch.cdist(wanted, both.batch(part).float().flatten(1)).min(1)
        which = torch.where(far.values < best, part[far.indices], which)
        best = torch.minimum(best, far.values)
    return which


def apart(both, pairs, mirrored):
    """What is left between two images, root mean square of 255, after the best alignment.

    Shifts by half pixels up to 2, zoom by 5 %, then gain and offset of each channel fitted; the
    residual counts relative to a picture of deviation 50, so that pale pictures are not alike.
    """
    a, b = both.batch(pairs[:, 0]).float(), both.batch(pairs[:, 1]).float()
    b = torch.where(mirrored[:, None, None, None], b.flip(3), b)
    best = torch.full((len(pairs),), torch.inf)
    shifts = torch.arange(-4, 5) / 16.0  # half pixels in units of half a side of 32
    for zoom in (0.95, 1.0, 1.05):
        for dy in shifts.tolist():
            for dx in shifts.tolist():
                turn = torch.tensor([[zoom, 0, dx / 2], [0, zoom, dy / 2]]).expand(len(b), 2, 3)
                grid = torch.nn.functional.affine_grid(turn, list(b.shape), align_corners=False)
                moved = torch.nn.functional.grid_sample(
                    b, grid, padding_mode="border", align_corners=False
                )
                best = torch.minimum(best, residual(a, moved))
    return best


def residual(a, b):
    x, y = (v[:, :, 3:-3, 3:-3].flatten(2) for v in (a, b))
    x, y = x - x.mean(2, keepdim=True), y - y.mean(2, keepdim=True)
    gain = (x * y).sum(2, keepdim=True) / y.square().sum(2, keepdim=True).clamp_min(1e-6)
    left, whole = (x - gain * y).square().mean((1, 2)), x.square().mean((1, 2))
    return 50 * (left / whole.clamp_min(1e-6)).sqrt()


def sheet(both, found, file, told):
    """Pairs side by side, numbered by reading, to be counted by eye."""
    from PIL import ImageDraw

    file.parent.mkdir(parents=True, exist_ok=True)
    canvas = Image.new("RGB", (6 * 250, (len(found) + 5) // 6 * 136), "white")
    for k in range(len(found)):
        pair = both.batch(found.pairs[k])
        pair[1] = pair[1].flip(2) if found.mirrored[k] else pair[1]
        x, y = k % 6 * 250, k // 6 * 136
        for side in (0, 1):
            tile = Image.fromarray(pair[side].permute(1, 2, 0).numpy()).resize((118, 118))
            canvas.paste(tile, (x + 120 * side, y))
        ImageDraw.Draw(canvas).text(
            (x, y + 119), f"{k}: edges {found.agree[k]:.2f}, left {told[k]:.0f}", "black"
        )
    canvas.save(file)


def planted(targets, share):
    """Labels of which `share` are wrong, any other class alike; and which."""
    draw = torch.Generator().manual_seed(11)
    wrong = torch.rand(len(targets), generator=draw) < share
    other = targets + torch.randint(1, 10, (len(targets),), generator=draw)
    return torch.where(wrong, other % 10, targets), wrong


def answered(train, given, name, args):
    """Out-of-fold log probabilities of small nets, each fold kept in a file: a call goes on
    where the last one ended. A fixed number of epochs, so that the load of the machine changes
    nothing but the seconds."""
    fold, whole = dealt(given, args.folds), torch.zeros(len(given), 10)
    for k in range(args.folds):
        file = Path(args.keep) / f"{name}-{k}.pt"
        if not file.exists():
            torch.manual_seed(seed_of("audit", 0))
            school = audit_net._School(train, given, 10, "")
            kept, held = (fold != k).nonzero()[:, 0], (fold == k).nonzero()[:, 0]
            start, steps = time.process_time(), args.epochs * len(kept) // school.batch
            net = school.train(kept, steps, 1e9, k)
            out = school.answers(net, held)
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(out, file)
            print(
                f"{name}, net {k + 1} of {args.folds}: {time.process_time() - start:.0f} s of one core",
                flush=True,
            )
            if args.once:
                raise SystemExit
        whole[fold == k] = torch.load(file, weights_only=True)
    return sharpened(whole, given)


def judged_labels(probabilities, given, wrong, share):
    seen = parts.suspects(probabilities, given)
    print(
        f"planted {share:.0%} of {len(given):,} labels wrong: estimated {seen.share:.1%} (confident learning {seen.joint:.1%}), out-of-fold error {seen.error:.1%}, judged {seen.judged}"
    )
    cuts = (("likelier wrong than right (named)", seen.wrong), ("as many as the estimated share", int(seen.share * len(given))),
            ("confident learning's joint", len(seen.rows)), ("first 100", 100), ("first 500", 500))  # fmt: skip
    for name, n in cuts if share else ():
        hits = wrong[seen.rows[:n]]
        print(
            f"  {name} ({len(hits):,}): precision {hits.double().mean():.1%}, recall {hits.sum() / wrong.sum():.1%}"
        )


def labels(train, test, targets, args):
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(1))[: args.images]
    some, true = Held(train.pixels[rows], []), targets[rows]
    for share in args.shares:
        given, wrong = planted(true, share)
        if args.linear:
            words = parts.Words(some, torch.arange(len(some)))
            x = parts.features(some, words, torch.arange(len(some)))
            judged_labels(parts.out_of_fold(x, given, 10), given, wrong, share)
            continue
        name = f"labels-{len(some)}-{share:g}-{args.folds}x{args.epochs}"
        judged_labels(answered(some, given, name, args), given, wrong, share)


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
        for source, pixels in (
            ("train half", train.pixels[second]),
            ("test", test.pixels[torch.randperm(len(test), generator=draw)[:3000]]),
        ):
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
    parser.add_argument("--sheet", help="write sheets of real pairs into this folder")
    parser.add_argument(
        "--keep", default="/tmp/audit-labels", help="answers of the nets are kept here"
    )
    parser.add_argument("--images", type=int, default=50_000, help="of train, for labels")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.2, 0.0])
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4, help="what 240 s of one core suffice for")
    parser.add_argument("--once", action="store_true", help="end after one net was trained")
    parser.add_argument("--linear", action="store_true", help="labels by the linear model")
    args = parser.parse_args()
    dataset = prepare(args.folder, validation=0.0)
    torch.set_num_threads(1)
    train, test = held(dataset.train), held(dataset.vault.look("benchmark of the audit", Ledger()))
    if "copies" in args.part:
        copies(train, test, args)
    if "labels" in args.part:
        labels(train, test, dataset.train.targets, args)
    if "drift" in args.part:
        drift(train, test, dataset.train.targets, args)


if __name__ == "__main__":
    main()
