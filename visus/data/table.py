"""A manifest: a table of images with columns path, target and, where given, split and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visus.data.asked import PREFIX, truth_of
from visus.data.found import Found
from visus.data.inputs import Files
from visus.data.listing import SPLITS
from visus.data.truth import Truth, with_truth
from visus.errors import DataError, unknown

COLUMNS = ("path", "target", "split", "group")
Table = Mapping[str, Sequence[str]]


def found_table(manifest: Path, table: Table, first_row: int) -> Found:
    """The images of a manifest; paths are relative to it. `first_row` is where data begins.

    Raises `DataError` for missing columns, empty paths or targets, an unknown split, and images
    that stand in the table twice with different targets or splits.
    """
    place = f"manifest {manifest.name}"
    if {"better", "worse"} <= set(table) and "path" not in table:
        return _pairs(manifest, place, table, first_row)
    several = any(name.startswith(PREFIX) for name in table)
    for name in COLUMNS[: 1 if several else 2]:
        if name not in table:
            raise DataError(f"{place}: no column '{name}'; it needs path,target[,split][,group]")
    listed = any(";" in cell for cell in table.get("target", ()))  # an empty list is no label
    _filled(place, table, first_row, COLUMNS[: 1 if several or listed else 2])
    empty = [""] * len(table["path"])
    splits = [_split(place, i + first_row, s) for i, s in enumerate(table.get("split", empty))]
    groups = list(table.get("group", empty))
    keep = _once(place, table, splits, first_row)
    names = [table["path"][i] for i in keep]
    files = Files(names, [manifest.parent / name for name in names])
    truth, labels, poses = truth_of(place, table, first_row)
    labels = [labels[i] for i in keep] if labels else [""] * len(keep)
    splits, groups = [splits[i] for i in keep], [groups[i] for i in keep]
    found = Found(manifest.stem, str(manifest), files, labels, splits, groups, poses=poses)
    return found if truth is None else with_truth(found, truth.take(keep))


def _pairs(manifest: Path, place: str, table: Table, first_row: int) -> Found:
    """A manifest of pairs: which of two images ranks above the other."""
    _filled(place, table, first_row, ("better", "worse"))
    names = list(dict.fromkeys([*table["better"], *table["worse"]]))
    at = {name: i for i, name in enumerate(names)}
    seen: dict[tuple[int, int], int] = {}
    for k, (a, b) in enumerate(zip(table["better"], table["worse"], strict=True)):
        pair = (at[a], at[b])
        if a == b or (pair[1], pair[0]) in seen:
            said = (
                "itself"
                if a == b
                else f"{b}, and row {seen[pair[1], pair[0]] + first_row} the reverse"
            )
            raise DataError(
                f"{place}: row {k + first_row} ranks {a} above {said}; keep one of them"
            )
        seen.setdefault(pair, k)
    given = table.get("split", [""] * len(table["better"]))
    splits = tuple(_split(place, k + first_row, given[k]) for k in seen.values())
    own = [""] * len(names)
    for (a, b), split in zip(seen, splits, strict=True):
        for i in (a, b):
            if split and own[i] not in ("", split):
                raise DataError(
                    f"{place}: {names[i]} is in pairs of {own[i]} and of {split}; keep it in one"
                )
            own[i] = split or own[i]
    files = Files(names, [manifest.parent / name for name in names])
    blank = [""] * len(names)
    found = Found(manifest.stem, str(manifest), files, list(blank), own, blank, classes=["all"])
    rows = np.zeros((len(names), 1), np.float32)
    return with_truth(found, Truth("pairs", ["score"], rows, np.asarray(list(seen), int), splits))


def _filled(place: str, table: Table, first_row: int, columns: Sequence[str] = COLUMNS[:2]) -> None:
    if not table[columns[0]]:
        raise DataError(f"{place}: it holds no rows")
    for name in columns:
        rows = [str(i + first_row) for i, value in enumerate(table[name]) if not value]
        if rows:
            named = ", ".join(rows[:5]) + (", ..." if len(rows) > 5 else "")
            raise DataError(
                f"{place}: {len(rows)} row{'s' * (len(rows) != 1)} without a {name} "
                f"(row {named}); fill them in or remove them"
            )


def _split(place: str, row: int, given: str) -> str:
    if not given:
        return ""
    if given.lower() not in SPLITS:
        raise DataError(unknown(f"{place}: split in row {row}", given, SPLITS))
    return SPLITS[given.lower()]


def _once(place: str, table: Table, splits: list[str], first_row: int) -> list[int]:
    """The rows without repetitions; a contradiction is an error."""
    first: dict[str, int] = {}
    for i, path in enumerate(table["path"]):
        j = first.setdefault(path, i)
        asked = [name for name in table if name == "target" or name.startswith(PREFIX)]
        for what, column in (*((n, table[n]) for n in asked), ("split", splits)):
            if column[j] != column[i]:
                raise DataError(
                    f"{place}: {path} has {what} '{column[j]}' in row {j + first_row} and "
                    f"'{column[i]}' in row {i + first_row}; keep one of them"
                )
    return list(first.values())
