"""Images that are not of the run: one file to predict, or a whole other set to evaluate on.

Both are decoded to the shape the model was trained on, in the way training decodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visus.data.decode import Encoded, open_image, quiet
from visus.data.found import Found, Size, Unreadable
from visus.data.inputs import read_bytes
from visus.data.prepare import image_set
from visus.data.scan import refuse, scan
from visus.data.sources import open_source
from visus.data.store import open_store
from visus.data.truth import recast
from visus.data.wish import Wish
from visus.errors import DataError


def picture(path: str | Path, channels: int, size: Size) -> Tensor:
    """One image file as uint8 `(C, H, W)`; raises `DataError` naming the file and the reason."""
    try:
        with quiet():
            pixels = Encoded(open_image(read_bytes(path))).pixels((channels, *size))
    except Unreadable as error:
        raise DataError(f"{path}: {error}; give an image file") from None
    return torch.from_numpy(np.array(pixels))


def every(
    what: Any, classes: list[str], channels: int, size: Size, *, max_bad: float = 0.01, task: str = "auto"
) -> Any:  # fmt: skip
    """All images of `what`, whatever their split, with targets by their place in `classes`.

    Raises `DataError` where `what` has a class that is not in `classes`.
    """
    found = recast(open_source(what), task)
    _same_outputs(found, classes)
    for name in found.classes if found.truth is None else ():
        if name not in classes:
            raise DataError(
                f"data: class '{name}' of {found.source} is unknown to the model, which knows "
                f"{', '.join(classes[:12])}; rename the folder or leave it out"
            )
    seen = scan(found)
    refuse(seen.found, list(seen.bad), max_bad)
    decoded = open_store(seen, Wish(channels, size))
    rows = [i for i in range(len(seen.found)) if i not in decoded.bad]
    refuse(seen.found.take(rows), [*seen.bad, *decoded.bad.values()], max_bad)
    return image_set(seen.found, decoded.store, rows, classes, size)


def _same_outputs(found: Found, names: list[str]) -> None:
    truth = found.truth
    if truth is None or truth.form in ("values", "pairs") or list(truth.names) == list(names):
        return
    raise DataError(
        f"data: {found.source} has {', '.join(truth.names[:12])}, the model knows "
        f"{', '.join(names[:12])}; give the same names in the same order"
    )
