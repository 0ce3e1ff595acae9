"""A list of names to leave out of a data set: `data.exclude`, one name a line. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from visus.data.found import Found
from visus.errors import DataError, UsageError
from visus.files import replace_text

HEAD = "# Left out by data.exclude: one image name a line, as the report shows it."


def read_names(file: str | Path) -> list[str]:
    """The names in the file; empty lines and lines that begin with # are passed over."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(
            f"data.exclude: cannot read {file}: {reason}; give a text file with one image name a line"
        ) from None
    lines = (line.strip("\r\n") for line in text.splitlines())
    return [line for line in lines if line.strip() and not line.startswith("#")]


def write_names(file: str | Path, names: Iterable[str], why: str) -> Path:
    """Write a list that `data.exclude` reads."""
    return replace_text(file, "\n".join([HEAD, f"# {why}", *names]) + "\n")


def excluded(found: Found, file: str | Path | None) -> Found:
    """`found` without the images that the file names; `DataError` where none is known or left."""
    if not file:
        return found
    names = set(read_names(file))
    keep = [i for i, name in enumerate(found.images.names) if name not in names]
    if names and len(keep) == len(found):
        raise DataError(
            f"data.exclude: none of the {len(names)} names in {file} (such as {min(names)}) is an "
            f"image of {found.source}; names are relative to the data, such as {found.images.names[0]}"
        )
    if not keep:
        raise DataError(f"data.exclude: {file} names every image of {found.source}; shorten it")
    return found.take(keep)
