"""A Parquet manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visus.data.found import Found
from visus.data.sources import Source, sources
from visus.data.table import found_table
from visus.errors import DataError, UsageError


@sources.member
class ParquetManifest(Source):
    """A table with columns path, target[, split][, group]; read by pyarrow."""

    def fits(self, what: Any) -> bool:
        """A file called .parquet."""
        return isinstance(what, Path) and what.is_file() and what.suffix.lower() == ".parquet"

    def open(self, what: Path) -> Found:
        """The rows of the table; nothing is opened yet."""
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise UsageError(
                f"manifest {what}: reading Parquet needs pyarrow; pip install 'visus[parquet]'"
            ) from None
        try:
            table = parquet.read_table(what)
        except (OSError, pyarrow.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"manifest {what}: cannot be read as Parquet: {reason}") from None
        columns = {name.lower(): table[name].to_pylist() for name in table.column_names}
        return found_table(what, {n: [_text(v) for v in columns[n]] for n in columns}, 1)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
