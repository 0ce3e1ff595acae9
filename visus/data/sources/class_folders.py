"""A folder of class folders: photos/cat/1.jpg is an image of class cat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visus.data.found import Found
from visus.data.inputs import Files
from visus.data.listing import class_files, mask_folders, split_folders
from visus.data.sources import Source, sources


@sources.member
class ClassFolders(Source):
    """Every folder is a class; folders inside it belong to the class too."""

    takes = "a folder of class folders"

    def fits(self, what: Any) -> bool:
        """A folder without a train folder in it."""
        return (
            isinstance(what, Path)
            and what.is_dir()
            and not (split_folders(what) or mask_folders(what))
        )

    def open(self, what: Path) -> Found:
        """All files below the class folders, no split given."""
        listed, classes, strays = class_files(what)
        files = Files([f.name for f in listed], [f.path for f in listed])
        empty = [""] * len(listed)
        labels = [f.label for f in listed]
        return Found(what.resolve().name, str(what), files, labels, empty, empty, strays, classes)
