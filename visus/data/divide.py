"""Dividing images into train, validation and test: stratified, by group, a function of the seed.

What must stay together (the same group, the same bytes) is one unit. Units are shuffled by a
checksum of (seed, name), so the place of an image does not depend on the order of the listing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from visus.errors import DataError

PARTS = ("train", "validation", "test")


@dataclass(slots=True)
class Unit:
    """Images that stay together: their numbers, and how many of each class."""

    members: list[int]
    counts: dict[str, int]


def divide(
    labels: Sequence[str], keys: Sequence[Sequence[str]], shares: Mapping[str, float], seed: int
) -> list[str]:  # fmt: skip
    """The split of each image. `keys[i]` are the ties of image i: images that share one stay together.

    The first key of an image is its own (its checksum or name). `shares` holds the share of each
    part beside train that is wanted. In each class every part gets `share * n` images, rounded,
    at least one. Raises `DataError` where a class has too few units for that.
    """
    units = shuffled(units_of(labels, keys), keys, seed)
    wanted = [part for part in PARTS[1:] if shares.get(part, 0) > 0]
    totals = Counter(labels)
    _enough(units, totals, wanted)
    quota = _quotas(totals, {part: shares[part] for part in wanted})
    placed = _place(units, totals, quota)
    _repair(units, placed, wanted)
    out = ["train"] * len(labels)
    for unit, part in zip(units, placed, strict=True):
        for i in unit.members:
            out[i] = part
    return out


def units_of(labels: Sequence[str], keys: Sequence[Sequence[str]]) -> list[Unit]:
    """Images joined wherever they share a key, directly or through others (union-find)."""
    parent = list(range(len(labels)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, ties in enumerate(keys):
        for key in ties:
            parent[root(i)] = root(first.setdefault(key, i))
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(len(labels)):
        members[root(i)].append(i)
    return [
        Unit(m, {labels[m[0]]: 1} if len(m) == 1 else dict(Counter(labels[i] for i in m)))
        for m in members.values()
    ]


def shuffled(units: list[Unit], keys: Sequence[Sequence[str]], seed: int) -> list[Unit]:
    """Units in an order that depends on the seed and on their own keys alone, larger ones first."""

    def place(unit: Unit) -> tuple:
        name = min([key for i in unit.members for key in keys[i]])
        return -len(unit.members), hashlib.sha256(f"{seed}\n{name}".encode()).digest()

    return sorted(units, key=place)


def _enough(units: list[Unit], totals: Counter, wanted: list[str]) -> None:
    parts = ["train", *wanted]
    have = Counter(k for unit in units for k in unit.counts)
    for name, n in totals.items():
        if have[name] >= len(parts):
            continue
        need = f"needs {len(parts)} ({', '.join(parts)})"
        held = f"{n} image{'s' * (n != 1)}"
        if have[name] < n:
            held += f" in {have[name]} group{'s' * (have[name] != 1)} (or as copies)"
            need += " that do not belong together"
        raise DataError(
            f"split: class '{name}' has {held}, {need}; add images or drop the class with "
            f"--set data.drop={name}"
        )


def _quotas(totals: Counter, shares: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """Images wanted of each class in each part beside train; at least one is left for train."""
    quota: dict[str, dict[str, int]] = {part: {} for part in shares}
    for name, n in totals.items():
        room = n - 1
        for later, part in enumerate(shares, 1 - len(shares)):  # a place for each later part
            quota[part][name] = min(max(1, round(shares[part] * n)), room + later)
            room -= quota[part][name]
    return quota


def _place(units: list[Unit], totals: Counter, quota: dict[str, dict[str, int]]) -> list[str]:
    """Each unit goes where most is missing, in relation to the quota, and where it fits.

    A class that is not in train yet goes there, whatever else is missing.
    """
    trained: set[str] = set()
    parts = {"train": {k: n - sum(quota[p][k] for p in quota) for k, n in totals.items()}} | quota
    left = {part: dict(table) for part, table in parts.items()}
    placed = []
    for unit in units:
        known = trained.issuperset(unit.counts)
        fits = [p for p in quota if known and all(left[p][k] >= n for k, n in unit.counts.items())]
        chosen = max(["train", *fits], key=lambda p: _missing(unit, left[p], parts[p]))
        for k, n in unit.counts.items():
            left[chosen][k] -= n
        placed.append(chosen)
        if chosen == "train":
            trained.update(unit.counts)
    return placed


def _missing(unit: Unit, left: Mapping[str, int], quota: Mapping[str, int]) -> float:
    return sum(left[k] / max(1, quota[k]) for k in unit.counts)


def _repair(units: list[Unit], placed: list[str], wanted: list[str]) -> None:
    """A class that a part lacks gets its smallest unit that train can spare."""
    held = {p: Counter() for p in PARTS}
    for unit, part in zip(units, placed, strict=True):
        for name in unit.counts:
            held[part][name] += 1
    for part in wanted:
        for name in sorted({k for unit in units for k in unit.counts}):
            if held[part][name]:
                continue
            at = _spare(units, placed, held["train"], name)
            if at is None:
                raise DataError(
                    f"split: class '{name}' has no group left for {part}; add groups, leave "
                    f"{part} out with --set data.{part}=0 or drop the class with "
                    f"--set data.drop={name}"
                )
            placed[at] = part
            for k in units[at].counts:
                held["train"][k] -= 1
                held[part][k] += 1


def _spare(units: list[Unit], placed: list[str], train: Counter, name: str) -> int | None:
    for at in range(len(units) - 1, -1, -1):  # smallest last in `units`
        spare = placed[at] == "train" and all(train[k] > 1 for k in units[at].counts)
        if spare and name in units[at].counts:
            return at
    return None
