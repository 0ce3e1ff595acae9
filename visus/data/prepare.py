"""`prepare`: from a path, a name or an object to a data set that training can use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visus.data.again import Again
from visus.data.divide import PARTS
from visus.data.exclude import excluded
from visus.data.found import Bad, Found, Size
from visus.data.images import Dataset, ImageSet, PairSet
from visus.data.moments import channel_statistics
from visus.data.scan import Scan, refuse, scan
from visus.data.sources import open_source
from visus.data.split import NAME, Split, make_split
from visus.data.store import Decoded, Store, open_store
from visus.data.truth import recast, task_of
from visus.data.vault import Vault
from visus.data.wish import Wish
from visus.errors import DataError
from visus.ledger import Ledger


def prepare(
    what: Any, *, seed: int = 0, size: int | None = None, channels: int | None = None,
    drop: Sequence[str] = (), validation: float = 0.1, test: float = 0.1, max_bad: float = 0.01,
    budget_mb: float | None = None, workers: int | None = None, cache: str | Path | None = None,
    folder: str | Path | None = None, ledger: Ledger | None = None, task: str = "auto",
    exclude: str | Path | None = None, again: Again | None = None,
) -> Dataset:  # fmt: skip
    """Open, scan, decode and divide the images of `what`.

    `what` is a folder, a manifest, an .npz file, the name of a data set, a torch Dataset or a
    pair of arrays (docs/data.md). `size` (pixels a side) and `channels` (1 or 3) are chosen from
    the data where None; `drop` leaves classes out, `exclude` the images named in a file; `validation` and `test` are shares of what is
    to be divided; `max_bad` the share of unreadable images to go on without; `budget_mb` the
    most the cache of decoded images may take; `workers` the threads that decode; `cache` the
    folder of the cache. A `folder` that holds a `split.json` gives the split, else one is
    written there; `again` divides what it holds anew. `ledger` gets the lines `data` and `split`. `task` reads the targets as that
    task does; "auto" as what they are.

    Raises `UsageError` for what does not exist, `DataError` for images, labels or a split that
    cannot be used.
    """
    held = Split.read(folder) if folder is not None and (Path(folder) / NAME).exists() else None
    opened = excluded(open_source(what, drop=tuple(drop)), exclude)
    found, natural = recast(opened, task), task_of(opened)
    tasks = (natural if task == "auto" else task, natural)
    strays = found.strays
    found = held.only(found) if held else found
    wish = (
        Wish(held.channels, held.size) if held else Wish(channels, (size, size) if size else None)
    )
    ways = {"budget_mb": budget_mb, "workers": workers, "cache": cache}
    if ledger is not None:
        ways["say"] = lambda text: ledger.write("note", text=text)
    seen, decoded, bad = _decoded(found, wish, max_bad, ways, ledger, held)
    if held:
        held.check(seen)
    ties = None
    if again:
        held, (seen, ties, keep) = None, again.freed(seen)
        decoded = decoded.take(keep)
    split = held or make_split(
        seen, decoded.shape, seed=seed, validation=validation, test=test, ties=ties
    )
    dataset = _dataset(seen, decoded, split, [*bad, *strays], tasks)
    record(dataset, folder, ledger)
    return dataset


def record(dataset: Dataset, folder: str | Path | None, ledger: Ledger | None) -> None:
    """Put the split into the folder, where it is not from there, and what was found into the ledger."""
    split = dataset.split
    file = (split.path or split.write(folder)) if folder is not None else None
    if ledger is not None:
        ledger.write("data", **describe(dataset))
        ledger.write("split", how=split.how, sizes=split.sizes, sha256=split.sha256,
                     file=str(file) if file else None, leaks=split.leaks, **pairs(dataset))  # fmt: skip


def _decoded(
    found: Found, wish: Wish, max_bad: float, ways: dict[str, Any], ledger: Ledger | None,
    held: Split | None,
) -> tuple[Scan, Decoded, list[Bad]]:  # fmt: skip
    """What can be used, with the store that holds it, and what cannot."""
    seen = scan(found, ways["workers"])
    if held:
        held.check(seen)
    bad = list(seen.bad)
    try:
        _usable(found, seen.found, bad, 1.0 if len(seen.found) else max_bad)
        decoded = open_store(seen, wish, **ways)
        bad += decoded.bad.values()
        if decoded.bad:
            keep = [i for i in range(len(seen.sums)) if i not in decoded.bad]
            seen, decoded = seen.take(keep), decoded.take(keep)
        _usable(found, seen.found, bad, max_bad)
    except DataError:
        if ledger is not None:
            named = [_plain(item) for item in [*bad, *found.strays]]
            ledger.write("data", source=found.source, classes=found.classes, bad=named)
        raise
    return seen, decoded, bad


def _usable(found: Found, readable: Found, bad: list[Bad], max_bad: float) -> None:
    refuse(readable, bad, max_bad)
    if not len(readable):
        raise DataError(f"data: {found.source} holds no readable images")
    if len(found.classes) < 2 and found.truth is None:
        raise DataError(
            f"data: {found.source} has only one class, '{found.classes[0]}'; a classifier needs "
            "two or more"
        )
    listed, present = set(found.labels), set(readable.labels)
    for name in found.classes:
        if name not in present:
            what = "readable image; mend its files" if name in listed else "images; add some"
            raise DataError(
                f"data: class '{name}' has no {what} or drop the class with --set data.drop={name}"
            )


def _dataset(
    seen: Scan, decoded: Decoded, split: Split, bad: list[Bad], tasks: tuple[str, str]
) -> Dataset:  # fmt: skip
    found, numbers = seen.found, split.numbers(seen.found)
    names = found.truth.names if found.truth else split.classes
    sets = {
        part: image_set(found, decoded.store, numbers[part], split.classes, split.size, part)
        for part in PARTS
    }
    if not len(sets["train"]):
        raise DataError(f"data: {found.source} has no pair of which both images are in train")
    pixels = split.size[0] * split.size[1]
    mean, std = channel_statistics(decoded.moments[numbers["train"]], pixels)
    return Dataset(
        found.name, found.source, names, split.channels, split.size, sets["train"],
        sets["validation"], Vault(sets["test"], split.classes), split, mean, std, bad, *tasks,
    )  # fmt: skip


def image_set(
    found: Found, store: Store, rows: Sequence[int], classes: Sequence[str], size: Size, part: str = ""
) -> Any:  # fmt: skip
    """The images of `found` at `rows`, with targets by the place of their class in `classes`."""
    if found.truth is not None:
        return _asked(found, store, rows, size, part)
    place = {name: k for k, name in enumerate(classes)}
    targets = [place[found.labels[i]] for i in rows]
    return ImageSet(store, rows, targets, [found.images.names[i] for i in rows])


def _asked(found: Found, store: Store, rows: Sequence[int], size: Size, part: str) -> Any:
    """Images with numbers, masks or pairs as targets."""
    truth, names = found.truth, [found.images.names[i] for i in rows]
    images = ImageSet(store, rows, truth.tensor(rows, size), names)
    if truth.pairs is None:
        return images
    place = {i: k for k, i in enumerate(rows)}
    asked = [
        (place[a], place[b])
        for (a, b), given in zip(truth.pairs.tolist(), truth.pair_splits, strict=True)
        if a in place and b in place and given in ("", part)
    ]
    return PairSet(images, np.asarray(asked, np.int64))


def describe(dataset: Dataset) -> dict[str, Any]:
    """The facts of a data set as the ledger's `data` line has them."""
    return {
        "source": dataset.source,
        "name": dataset.name,
        "classes": dataset.classes,
        "channels": dataset.channels,
        "size": list(dataset.size),
        "bad": [_plain(item) for item in dataset.bad],
        "leaks": dataset.split.leaks,
        "mean": dataset.mean,
        "std": dataset.std,
        "counts": dataset.split.counts(),
        "task": dataset.task,
    }


def pairs(dataset: Dataset) -> dict[str, Any]:
    """The pairs of images in each part, where pairs are what is asked: {"pairs": {part: n}}."""
    if not isinstance(dataset.train, PairSet):
        return {}
    sets = (dataset.train, dataset.validation, dataset.vault)
    return {"pairs": {part: len(held) for part, held in zip(PARTS, sets, strict=True)}}


def _plain(item: Bad) -> dict[str, str]:
    return {"name": item.name, "reason": item.reason}
