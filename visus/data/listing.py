"""Walking folders: which files are images of a class, and which are strays. No decoding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from visus.data.decode import SUFFIXES
from visus.data.found import Bad, in_order
from visus.errors import DataError, UsageError, nearest
from visus.files import sibling

QUIET = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


class Listed(NamedTuple):
    """A file below a class folder: its name from the top, and its class."""

    name: str
    path: str
    label: str


def entries(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, in natural order, without hidden files and Thumbs.db."""
    try:
        with os.scandir(folder) as found:
            seen = {e.name: e for e in found if not hidden(e.name)}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"data: cannot read folder {folder}: {reason}") from None
    return [seen[name] for name in in_order(seen)]


def hidden(name: str) -> bool:
    """Files that systems leave about; nobody means them."""
    return name.startswith(".") or name.lower() in QUIET


def is_image_name(name: str) -> bool:
    """Whether the suffix is that of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def split_folders(folder: Path) -> dict[str, str]:
    """Folders of `folder` that are splits: {"val": "validation", ...}; {} without a train folder."""
    found = [e.name for e in entries(folder) if e.is_dir()]
    named = {name: SPLITS[name.lower()] for name in found if name.lower() in SPLITS}
    return named if "train" in named.values() or (named and len(named) == len(found)) else {}


def mask_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and of their masks by split ("" for none): {"train": (images, masks)}."""
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        return {"": (folder / "images", folder / "masks")}
    found = {}
    for name in split_folders(folder):
        inner, annotated = folder / name, folder / f"{name}annot"
        if (inner / "images").is_dir() and (inner / "masks").is_dir():
            found[name] = (inner / "images", inner / "masks")
        elif annotated.is_dir():
            found[name] = (inner, annotated)
    return found


def class_files(folder: Path, prefix: str = "") -> tuple[list[Listed], list[str], list[Bad]]:
    """All files in the class folders of `folder`, the classes, and the strays beside them.

    Raises `DataError` where `folder` is empty or holds images but no class folders.
    """
    listed: list[Listed] = []
    strays: list[Bad] = []
    seen = entries(folder)
    classes = [e for e in seen if e.is_dir()]
    strays += [Bad(prefix + e.name, "beside the class folders", False) for e in _files(seen)]
    if not classes:
        raise DataError(_no_classes(folder, [e.name for e in seen]))
    for entry in classes:
        files = _below(Path(entry.path), prefix + entry.name, strays)
        listed += [Listed(name, path, entry.name) for name, path in files]
    return listed, [e.name for e in classes], strays


def _files(seen: list[os.DirEntry]) -> list[os.DirEntry]:
    return [e for e in seen if not e.is_dir()]


def _no_classes(folder: Path, names: list[str]) -> str:
    if not names:
        return f"data: {folder} is empty; put the images of each class in a folder of their own"
    if any(map(is_image_name, names)):
        return (
            f"data: {folder} holds images but no class folders; put the images of each class in "
            f"a folder of their own ({folder.name}/cat/1.jpg), or give a manifest path,target"
        )
    return f"data: {folder} holds no class folders (it holds {', '.join(names[:3])}); give a folder of class folders"


def _below(folder: Path, name: str, strays: list[Bad]) -> Iterator[tuple[str, str]]:
    """(name, path) of every file under a class folder, its subfolders included."""
    for entry in entries(folder):
        inner = f"{name}/{entry.name}"
        if not entry.is_dir():
            yield inner, entry.path
        elif is_image_name(entry.name):
            strays.append(Bad(inner, "a folder, not an image", False))
        elif not entry.is_symlink():  # a link to a folder above would never end
            yield from _below(Path(entry.path), inner, strays)


def must_exist(path: Path, known: list[str]) -> None:
    """Raise `UsageError` with the nearest sibling or data set where `path` does not exist."""
    if path.exists():
        return
    if close := sibling(path):
        hint = f"did you mean {close}?"
    elif name := nearest(str(path), known):
        hint = f"did you mean '{name}'?"
    else:
        hint = f"give a folder, a manifest, an .npz file or one of: {', '.join(known)}"
    raise UsageError(f"data: no folder, file or data set '{path}'; {hint}")
