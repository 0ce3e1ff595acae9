"""What a trained model is for: predictions and ONNX."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch

from visus import data as images
from visus import files, training
from visus.api.run import Run, opened, trained
from visus.errors import DataError, UsageError
from visus.models.onnx import export_onnx

BATCH = 64


def predict(
    run: str | Path | Run,
    paths: Iterable[str | Path],
    *,
    top: int = 3,
    masks: str | Path | None = None,
) -> Iterator[dict[str, Any]]:
    """What the model says of each image, as it is read: the `top` most likely classes.

    `paths` are image files, folders (all files below them), or "-" for file names on standard
    input, one a line. Yields {image, top: [{class, probability}]}, or {image, error} for a file
    that cannot be read; the others go on. Other tasks: values (regression), class, probability
    and threshold (dichotomy), labels (multi-label), shares (distribution), score (ranking),
    pixels, the share of each class (segmentation; its masks are written into the folder `masks`).
    """
    model = trained(opened(run))
    paths = [str(path) for path in paths]
    # A stream is answered name by name; files on the disk in batches.
    many = 1 if "-" in paths else BATCH
    names = _files(paths)
    kept = Masks(Path(masks)) if masks is not None else None
    while waiting := [(path, _read(path, model)) for path in islice(names, many)]:
        yield from _answers(model, waiting, top, kept)


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from (line for line in (row.strip() for row in sys.stdin) if line)
        elif os.path.isdir(path):
            inside = (p for p in Path(path).rglob("*") if p.is_file())
            # A folder without a file is answered as one: nothing at all would look like success.
            yield from sorted(str(p) for p in inside if not p.name.startswith(".")) or [path]
        else:
            yield path


def _read(path: str, model: training.Trained) -> torch.Tensor | str:
    if os.path.isdir(path):
        return f"{path}: no file in this folder; give image files, or a folder of them"
    try:
        return images.picture(path, model.channels, model.size)
    except DataError as error:
        return str(error)


def _answers(
    model: training.Trained, waiting: list, top: int, masks: Masks | None
) -> Iterator[dict[str, Any]]:
    pixels = [image for _, image in waiting if isinstance(image, torch.Tensor)]
    with torch.no_grad():
        outputs = model(torch.stack(pixels).float() / 255).float() if pixels else None
    rows = iter(model.task.rows(outputs, top) if outputs is not None else [])
    for path, image in waiting:
        if isinstance(image, str):
            yield {"image": path, "error": image}
        else:
            row = next(rows)
            mask = row.pop("mask", None)
            kept = {} if mask is None or masks is None else {"mask": masks.keep(path, mask)}
            yield {"image": path, **row, **kept}


class Masks:
    """A folder of predicted masks; images of one name in several folders keep a mask each."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.taken: set[str] = set()
        files.make_folder(folder, "predict", "give another --masks")

    def keep(self, path: str, mask: torch.Tensor) -> str:
        """Write the class numbers of an image's pixels as a grey PNG; returns its path."""
        from PIL import Image

        def save(temporary: Path) -> None:
            Image.fromarray(mask.numpy()).save(temporary, "PNG")

        place = self.folder / f"{self._free(Path(path).stem)}.png"
        files.replace(place, save)
        return str(place)

    def _free(self, stem: str) -> str:
        tries = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        name = next(name for name in tries if name not in self.taken)
        self.taken.add(name)
        return name


def export(run: str | Path | Run, onnx: str | Path) -> dict[str, Any]:
    """Write the run's model as ONNX, input normalization inside, and check it with onnxruntime.

    Returns file, bytes, images checked, and the largest difference from the model.
    """
    path = Path(onnx)
    if not path.parent.is_dir():
        raise UsageError(
            f"export: there is no folder {path.parent}; make it, or choose another --onnx"
        )
    model = trained(opened(run))
    task = model.task
    whole = model if task.output == "logits" else _Answer(model)
    return export_onnx(
        whole, path, model.channels, model.size, task.names, output=task.output, task=task.name
    )


class _Answer(torch.nn.Module):
    """The model with what its task does to the outputs, such as the units of the targets."""

    def __init__(self, model: training.Trained):
        super().__init__()
        self.model, self.task = model, model.task

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.task.answer(self.model(images))
