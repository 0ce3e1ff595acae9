"""Files written whole or not at all: temporary name, sync, rename. No torch here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visus.errors import RunError, nearest


def replace(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Let `write(temporary)` make the file, sync it and rename it to `path`.

    A crash leaves the old file or the new one, never half of one. A full disk becomes a
    `RunError` that names the file, and the temporary file is removed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"write: cannot write {path}: {reason}; free space or choose another --out"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def replace_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8, whole or not at all."""
    return replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_json(path: str | Path, value: Any) -> Path:
    """Write `value` as indented JSON, whole or not at all."""
    return replace_text(path, json.dumps(value, indent=1) + "\n")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, place: str, way_out: str) -> Path:
    """The folder, made where it is missing; a `RunError` of `place` where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{place}: cannot make {folder}: {error.strerror}; {way_out}") from None
    return folder


def sibling(path: Path) -> Path | None:
    """The file or folder a person most likely meant by `path`, which is not there."""
    try:
        names = {name.lower(): name for name in os.listdir(path.parent)}
    except OSError:
        return None
    close = nearest(path.name, names)
    return path.parent / names[close] if close else None
