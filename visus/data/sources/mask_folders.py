"""Folders of images and masks of the same stems: images/ and masks/, under splits or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visus.data.found import Bad, Found
from visus.data.inputs import Files
from visus.data.listing import SPLITS, entries, is_image_name, mask_folders
from visus.data.masks import MaskFiles, legend_of
from visus.data.sources import Source, sources
from visus.data.truth import Truth, with_truth
from visus.errors import DataError


@sources.member
class MaskFolders(Source):
    """images/0001.jpg goes with masks/0001.png; also train/ with trainannot/ (CamVid)."""

    takes = "a folder with images/ and masks/"

    def fits(self, what: Any) -> bool:
        """A folder, or one of splits, with both in it."""
        return isinstance(what, Path) and what.is_dir() and bool(mask_folders(what))

    def open(self, what: Path) -> Found:
        """All pairs; an image without a mask is an error that names it."""
        names, paths, masks, splits, strays = [], [], [], [], []
        for split, (pictures, answers) in mask_folders(what).items():
            held = {Path(e.name).stem: e.path for e in entries(answers) if is_image_name(e.name)}
            for entry in entries(pictures):
                if not is_image_name(entry.name):
                    strays.append(Bad(entry.name, "no image", False))
                    continue
                mask = held.pop(Path(entry.name).stem, None)
                name = str(Path(entry.path).relative_to(what))
                if mask is None:
                    raise DataError(
                        f"masks: image {name} has no mask in {answers.relative_to(what)}; add "
                        f"{Path(entry.name).stem}.png or take the image out"
                    )
                names.append(name)
                paths.append(entry.path)
                masks.append(mask)
                splits.append(SPLITS.get(split.lower(), ""))
            strays += [Bad(stem, "a mask without an image", False) for stem in held]
        if not names:
            raise DataError(f"data: {what} holds no images beside its masks")
        legend = legend_of(what, masks)
        if legend.colors is None and len(legend.names) < 2:
            legend.numbered(_colored(masks), Path(masks[0]).name)  # says what is missing
            raise DataError(f"masks: {what} has one class alone; a segmentation needs two or more")
        rows = MaskFiles([str(Path(m).relative_to(what)) for m in masks], masks, paths, legend)
        none = [""] * len(names)
        found = Found(
            what.resolve().name, str(what), Files(names, paths), list(none), splits, none, strays, ["all"]
        )  # fmt: skip
        return with_truth(found, Truth("masks", legend.names, rows))


def _colored(masks: list[str]) -> Any:
    from visus.data.masks import raw

    return raw(masks[0], Path(masks[0]).name)
