"""Where images come from: a source is tried by what the path (or object) is.

A member is a class with `fits(what) -> bool` and `open(what) -> Found`. `names` are data sets
that it knows by name. A new kind of source is a new file in this folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visus.data.found import Found
from visus.data.listing import must_exist
from visus.errors import UsageError
from visus.family import Family

sources = Family("source", package=__name__)


class Source:
    """What a source is by default: one of no names, that fits nothing."""

    names: tuple[str, ...] = ()
    takes: str = ""  # what it accepts, for the error message

    def fits(self, what: Any) -> bool:
        """Whether this source opens `what` (a `Path` that exists, a name, or an object)."""
        return isinstance(what, str) and what in self.names

    def open(self, what: Any) -> Found:
        """List the images; decodes nothing."""
        raise NotImplementedError


def _manifest(what: Path) -> Path:
    """The file called manifest in a folder: it says more of its images than where they lie."""
    kinds = (".csv", ".tsv", ".parquet")
    held = [f for k in kinds if (f := what / f"manifest{k}").is_file()] if what.is_dir() else []
    return held[0] if held else what


def open_source(what: Any, *, drop: tuple[str, ...] = ()) -> Found:
    """What `what` is, listed: a path, the name of a data set, a torch Dataset, arrays.

    A folder that holds a `manifest.csv`, `.tsv` or `.parquet` is what that manifest says.
    Raises `UsageError` for a path that does not exist or a kind of file that no source takes,
    `DataError` for one that holds no images with labels.
    """
    members = [make() for make in sources.values()]
    known = sorted(name for member in members for name in member.names)
    if isinstance(what, (str, Path)) and str(what) not in known:
        what = Path(what).expanduser()
        must_exist(what, known)
        what = _manifest(what)
    elif isinstance(what, Path):
        what = str(what)
    for member in members:
        if member.fits(what):
            return member.open(what).without(drop)
    takes = "; ".join(member.takes for member in members if member.takes)
    named = f"'{what}'" if isinstance(what, (str, Path)) else type(what).__name__
    raise UsageError(f"data: {named} is nothing that can be opened; give {takes}, or a name")
