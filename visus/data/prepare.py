"""`prepare`: from a path, a name or an object to a data set that training can use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visus.data import store as stores
from visus.data.divide import PARTS
from visus.data.found import Bad, Found, Size
from visus.data.images import Dataset, ImageSet
from visus.data.moments import channel_statistics
from visus.data.scan import Scan, refuse, scan
from visus.data.sources import open_source
from visus.data.split import NAME, Split, make_split
from visus.data.vault import Vault
from visus.errors import DataError
from visus.ledger import Ledger


def prepare(
    what: Any, *, seed: int = 0, size: int | None = None, channels: int | None = None,
    drop: Sequence[str] = (), validation: float = 0.1, test: float = 0.1, max_bad: float = 0.01,
    budget_mb: float | None = None, workers: int | None = None, cache: str | Path | None = None,
    folder: str | Path | None = None, ledger: Ledger | None = None,
) -> Dataset:  # fmt: skip
    """Open, scan, decode and divide the images of `what`.

    `what` is a folder, a manifest, an .npz file, the name of a data set, a torch Dataset or a
    pair of arrays (docs/data.md). `size` (pixels a side) and `channels` (1 or 3) are chosen from
    the data where None; `drop` leaves classes out; `validation` and `test` are shares of what is
    to be divided; `max_bad` the share of unreadable images to go on without; `budget_mb` the
    most the cache of decoded images may take; `workers` the threads that decode; `cache` the
    folder of the cache. A `folder` that holds a `split.json` gives the split, else one is
    written there. `ledger` gets the lines `data` and `split`.

    Raises `UsageError` for what does not exist, `DataError` for images, labels or a split that
    cannot be used.
    """
    held = Split.read(folder) if folder is not None and (Path(folder) / NAME).exists() else None
    found = open_source(what, drop=tuple(drop))
    strays = found.strays
    found = held.only(found) if held else found
    at = Decoder(size, channels, max_bad, budget_mb, workers, cache, held, ledger)
    seen, decoded, kept = at.decode(found)
    if held:
        held.check(seen.found.take(kept), [seen.headers[i] for i in kept])
    split = held or _divided(seen, kept, at.shape, seed, validation, test)
    dataset = _dataset(seen, decoded, split, [*at.bad, *strays])
    file = (split.write(folder) if held is None else split.path) if folder is not None else None
    if ledger is not None:
        ledger.write("data", **describe(dataset))
        ledger.write("split", how=split.how, sizes=split.sizes, sha256=split.sha256,
                     file=str(file) if file else None, leaks=split.leaks)  # fmt: skip
    return dataset


class Decoder:
    """The scan and the decoding, as told; remembers the shape decoded to and the bad files."""

    def __init__(
        self, size: int | None, channels: int | None, max_bad: float, budget_mb: float | None,
        workers: int | None, cache: str | Path | None, held: Split | None, ledger: Ledger | None,
    ):  # fmt: skip
        self.size, self.channels, self.max_bad, self.held = size, channels, max_bad, held
        self.ways = {"budget_mb": budget_mb, "workers": workers, "cache": cache}
        self.ledger, self.bad = ledger, list[Bad]()
        self.shape: tuple[int, Size] = (0, (0, 0))

    def decode(self, found: Found) -> tuple[Scan, stores.Decoded, list[int]]:
        """The scan, the decoded images, and the numbers of those that could be decoded."""
        seen = scan(found, self.ways["workers"])
        self.bad = list(seen.bad)
        if not seen.headers:
            self._refuse(found, found.take([]), 0.0)
        self.shape = (
            (self.held.channels, self.held.size)
            if self.held
            else seen.shape(self.channels, self.size)
        )
        decoded = stores.open_store(seen, self.shape, **self.ways)
        self.bad += decoded.bad.values()
        kept = [i for i in range(len(seen.headers)) if i not in decoded.bad]
        self._refuse(found, seen.found.take(kept), self.max_bad)
        return seen, decoded, kept

    def _refuse(self, found: Found, readable: Found, limit: float) -> None:
        try:
            refuse(readable, self.bad, limit)
            _usable(found, readable)
        except DataError:
            if self.ledger is not None:
                self.ledger.write("data", source=found.source, classes=found.classes,
                                  bad=[_plain(item) for item in self.bad])  # fmt: skip
            raise


def _usable(found: Found, readable: Found) -> None:
    if not len(readable):
        raise DataError(f"data: {found.source} holds no readable images")
    if len(found.classes) < 2:
        raise DataError(
            f"data: {found.source} has only one class, '{found.classes[0]}'; a classifier needs "
            "two or more"
        )
    present = set(readable.labels)
    for name in found.classes:
        if name not in present:
            raise DataError(
                f"data: class '{name}' has no readable image; mend its files or drop the class "
                f"with --set data.drop={name}"
            )


def _divided(
    seen: Scan, kept: list[int], shape: tuple[int, Size], seed: int, validation: float, test: float
) -> Split:  # fmt: skip
    headers = [seen.headers[i] for i in kept]
    return make_split(
        seen.found.take(kept), headers, shape, seed=seed, validation=validation, test=test
    )


def _dataset(seen: Scan, decoded: stores.Decoded, split: Split, bad: list[Bad]) -> Dataset:
    found, numbers = seen.found, split.numbers(seen.found)
    sets = {part: image_set(found, decoded.store, numbers[part], split.classes) for part in PARTS}
    pixels = split.size[0] * split.size[1]
    mean, std = channel_statistics(decoded.moments[numbers["train"]], pixels)
    return Dataset(
        found.name, found.source, split.classes, split.channels, split.size, sets["train"],
        sets["validation"], Vault(sets["test"], split.classes), split, mean, std, bad,
    )  # fmt: skip


def image_set(
    found: Found, store: stores.Store, rows: Sequence[int], classes: Sequence[str]
) -> ImageSet:  # fmt: skip
    """The images of `found` at `rows`, with targets by the place of their class in `classes`."""
    place = {name: k for k, name in enumerate(classes)}
    targets = [place[found.labels[i]] for i in rows]
    return ImageSet(store, rows, targets, [found.images.names[i] for i in rows])


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
    }


def _plain(item: Bad) -> dict[str, str]:
    return {"name": item.name, "reason": item.reason}
