"""The split of a run: which image is in train, validation and test, by name and checksum.

It is written to the run as `split.json`, one line an image, and a resumed run takes it from
there: an image that is gone or has other bytes is an error that names it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from visus.data.again import Ties, tied
from visus.data.divide import PARTS, divide
from visus.data.found import Found, Shape, Size
from visus.data.scan import Scan
from visus.errors import DataError, RunError, UsageError
from visus.files import replace_text

NAME = "split.json"
Row = tuple[str, str, str]  # name, sha256, class


@dataclass(frozen=True)
class Split:
    """`rows` holds (name, sha256, class) of each image by part; `leaks` counts images whose very
    bytes, or whose group, are in two of the parts that the user made.

    `channels` and `size` are what the images are decoded to, so that a resumed run does the same.
    """

    how: str
    seed: int
    channels: int
    size: Size
    rows: dict[str, list[Row]]
    classes: list[str]
    leaks: int = 0
    path: Path | None = field(default=None, compare=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Images in each part."""
        return {part: len(self.rows[part]) for part in PARTS}

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each part."""
        seen = {part: Counter(label for _, _, label in self.rows[part]) for part in PARTS}
        return {part: {k: seen[part][k] for k in self.classes} for part in PARTS}

    def text(self) -> str:
        """What `split.json` holds; its sha256 names the split."""
        head = {
            "version": 1, "how": self.how, "seed": self.seed, "channels": self.channels,
            "size": list(self.size), "leaks": self.leaks, "classes": self.classes,
            "sizes": self.sizes,
        }  # fmt: skip
        body = ",\n".join(
            f"{json.dumps(part)}: [\n" + ",\n".join(map(json.dumps, self.rows[part])) + "\n]"
            for part in PARTS
        )
        return json.dumps(head)[:-1] + ",\n" + body + "}\n"

    @property
    def sha256(self) -> str:
        """The checksum of `text()`."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def write(self, folder: str | Path) -> Path:
        """Write `split.json` into the run, whole or not at all."""
        return replace_text(Path(folder) / NAME, self.text())

    @classmethod
    def read(cls, folder: str | Path) -> Split:
        """The split of a run; `RunError` where it is missing or damaged."""
        path = Path(folder) / NAME
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            rows = {part: [(n, s, k) for n, s, k in held[part]] for part in PARTS}
            size = (held["size"][0], held["size"][1])
            return cls(held["how"], held["seed"], held["channels"], size, rows, held["classes"],
                       held["leaks"], path)  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RunError(
                f"split: cannot read {path}: {error}; start again with another --out"
            ) from None

    def numbers(self, found: Found) -> dict[str, list[int]]:
        """The places in `found` of the images of each part."""
        place = {name: i for i, name in enumerate(found.images.names)}
        return {part: [place[name] for name, _, _ in self.rows[part]] for part in PARTS}

    def only(self, found: Found) -> Found:
        """`found` without images that are not in the split; `DataError` names one that is gone."""
        place = {name: i for i, name in enumerate(found.images.names)}
        rows = [row for part in PARTS for row in self.rows[part]]
        for name, _, label in rows:
            if name not in place:
                raise DataError(self._changed(name, "is gone"))
            if found.truth is None and found.labels[place[name]] != label:
                raise DataError(self._changed(name, f"was of class '{label}'"))
        return found.take(sorted(place[name] for name, _, _ in rows))

    def check(self, seen: Scan) -> None:
        """`DataError` names the first image that cannot be read or has other bytes than before."""
        now = dict(zip(seen.found.images.names, seen.sums, strict=True))
        for part in PARTS:
            for name, sha256, _ in self.rows[part]:
                if name not in now:
                    raise DataError(self._changed(name, "cannot be read"))
                if now[name] != sha256:
                    raise DataError(self._changed(name, "has changed"))

    def _changed(self, name: str, what: str) -> str:
        return (
            f"split: image {name} {what} since the run began ({self.path or NAME}); restore it "
            "or start a new run with another --out"
        )


def make_split(
    seen: Scan, shape: Shape, *, seed: int = 0, validation: float = 0.1, test: float = 0.1,
    ties: Ties | None = None,
) -> Split:  # fmt: skip
    """Keep the splits that the user made, and make those that are missing from train.

    `ties` are what each image must not be parted from, where more is known than its bytes and
    its group.
    """
    found = seen.found
    given = set(found.splits) - {""}
    if given and not {"train", ""} & set(found.splits):
        raise DataError(
            f"split: {found.source} gives {' and '.join(sorted(given))} but no train images"
        )
    shares = {"validation": validation, "test": test}
    if validation + test >= 1:
        raise UsageError(
            f"split: data.validation = {validation:g} and data.test = {test:g} leave no train "
            "images; their sum must be below 1"
        )
    missing = {part: share for part, share in shares.items() if part not in given and share > 0}
    splits = [part or "train" for part in found.splits]
    pool = [i for i, part in enumerate(splits) if part == "train"]
    if missing:
        keys = [ties[i] if ties else tied(seen, i) for i in pool]
        parts = divide([found.labels[i] for i in pool], keys, missing, seed)
        for i, part in zip(pool, parts, strict=True):
            splits[i] = part
    rows: dict[str, list[Row]] = {part: [] for part in PARTS}
    for i, part in enumerate(splits):
        rows[part].append((found.images.names[i], seen.sums[i], found.labels[i]))
    _trained(found, rows)
    how = _how(given, missing, bool(set(found.groups) - {""}), seed)
    if ties:
        how += "; anew, near copies together"
    size = (shape[1], shape[2])
    return Split(how, seed, shape[0], size, rows, found.classes, _leaks(seen, splits))


def _trained(found: Found, rows: dict[str, list[Row]]) -> None:
    trained = {label for _, _, label in rows["train"]}
    for part in PARTS[1:]:
        for name, _, label in rows[part]:
            if label not in trained:
                raise DataError(
                    f"split: class '{label}' is in {part} ({name}) but not in train; add images "
                    f"to train or drop the class with --set data.drop={label}"
                )


def _leaks(seen: Scan, splits: list[str]) -> int:
    """Images of validation and test whose very bytes, or whose group, are in an earlier part too."""
    known: set[str] = set()
    count = 0
    for part in PARTS:
        own = [set(tied(seen, i)) for i, given in enumerate(splits) if given == part]
        count += sum(bool(keys & known) for keys in own)
        known = known.union(*own)
    return count


def _how(given: set[str], made: dict[str, float], groups: bool, seed: int) -> str:
    if not made:
        return "as given"
    way = f"stratified{', whole groups' if groups else ''}, seed {seed}"
    kept = sorted(given - {"train"})
    return f"{way}; {' and '.join(kept)} as given" if kept else way
