"""A CSV manifest."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from visus.data.found import Found
from visus.data.sources import Source, sources
from visus.data.table import found_table
from visus.errors import DataError


@sources.member
class CsvManifest(Source):
    """Text with a header path,target[,split][,group]; comma, semicolon or tab between fields."""

    takes = "a .csv or .parquet manifest"

    def fits(self, what: Any) -> bool:
        """A file called .csv or .tsv."""
        return isinstance(what, Path) and what.is_file() and what.suffix.lower() in (".csv", ".tsv")

    def open(self, what: Path) -> Found:
        """The rows of the table; nothing is opened yet."""
        try:
            with open(what, newline="", encoding="utf-8-sig") as file:
                head = file.readline()
                file.seek(0)
                rows = [row for row in csv.reader(file, delimiter=_delimiter(head)) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"manifest {what}: cannot be read as UTF-8 CSV: {error}") from None
        names = [name.strip().lower() for name in rows[0]] if rows else []
        cells = [
            [cell.strip() for cell in row] + [""] * (len(names) - len(row)) for row in rows[1:]
        ]
        return found_table(what, {n: [r[k] for r in cells] for k, n in enumerate(names)}, 2)


def _delimiter(head: str) -> str:
    return max(",;\t", key=head.count)
