"""A manifest: a table of images with columns path, target and, where given, split and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from visus.data.found import Found
from visus.data.inputs import Files
from visus.data.listing import SPLITS
from visus.errors import DataError, unknown

COLUMNS = ("path", "target", "split", "group")
Table = Mapping[str, Sequence[str]]


def found_table(manifest: Path, table: Table, first_row: int) -> Found:
    """The images of a manifest; paths are relative to it. `first_row` is where data begins.

    Raises `DataError` for missing columns, empty paths or targets, an unknown split, and images
    that stand in the table twice with different targets or splits.
    """
    place = f"manifest {manifest.name}"
    for name in COLUMNS[:2]:
        if name not in table:
            raise DataError(f"{place}: no column '{name}'; it needs path,target[,split][,group]")
    _filled(place, table, first_row)
    empty = [""] * len(table["path"])
    splits = [_split(place, i + first_row, s) for i, s in enumerate(table.get("split", empty))]
    groups = list(table.get("group", empty))
    keep = _once(place, table, splits, first_row)
    names = [table["path"][i] for i in keep]
    files = Files(names, [manifest.parent / name for name in names])
    return Found(
        manifest.stem, str(manifest), files, [table["target"][i] for i in keep],
        [splits[i] for i in keep], [groups[i] for i in keep],
    )  # fmt: skip


def _filled(place: str, table: Table, first_row: int) -> None:
    if not table["path"]:
        raise DataError(f"{place}: it holds no rows")
    for name in COLUMNS[:2]:
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
        for what, column in (("target", table["target"]), ("split", splits)):
            if column[j] != column[i]:
                raise DataError(
                    f"{place}: {path} has {what} '{column[j]}' in row {j + first_row} and "
                    f"'{column[i]}' in row {i + first_row}; keep one of them"
                )
    return list(first.values())
