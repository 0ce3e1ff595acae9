"""A folder with train/ and, where the user has them, val/ or validation/ and test/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visus.data.found import Bad, Found, in_order
from visus.data.inputs import Files
from visus.data.listing import class_files, entries, mask_folders, split_folders
from visus.data.sources import Source, sources
from visus.errors import DataError


@sources.member
class SplitFolders(Source):
    """Class folders inside split folders: photos/train/cat/1.jpg."""

    takes = "a folder with train/, val/ or validation/, test/"

    def fits(self, what: Any) -> bool:
        """A folder with a train folder in it."""
        return (
            isinstance(what, Path)
            and what.is_dir()
            and not mask_folders(what)
            and bool(split_folders(what))
        )

    def open(self, what: Path) -> Found:
        """All files of all splits; each keeps the split it lies in."""
        folders = split_folders(what)
        if "train" not in folders.values():
            raise DataError(f"data: {what} has {' and '.join(folders)} but no train folder")
        names, paths, labels, splits, classes = [], [], [], [], set()
        strays = [Bad(e.name, "beside the split folders", False) for e in entries(what)
                  if e.name not in folders]  # fmt: skip
        for folder, split in folders.items():
            listed, inside, others = class_files(what / folder, f"{folder}/")
            names += [f.name for f in listed]
            paths += [f.path for f in listed]
            labels += [f.label for f in listed]
            splits += [split] * len(listed)
            strays += others
            classes |= set(inside)
        none = [""] * len(names)
        return Found(
            what.resolve().name, str(what), Files(names, paths), labels, splits, none, strays,
            in_order(classes),
        )  # fmt: skip
