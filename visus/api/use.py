"""What a trained model is for: predictions and ONNX; and what is in a folder before training."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from visus import data as images
from visus import training
from visus.api.run import Run, opened, trained
from visus.errors import DataError, UsageError
from visus.models.onnx import export_onnx

BATCH = 64


def predict(
    run: str | Path | Run, paths: Iterable[str | Path], *, top: int = 3
) -> Iterator[dict[str, Any]]:
    """The `top` most likely classes of each image, as it is read.

    `paths` are image files, folders (all files below them), or "-" for file names on standard
    input, one a line. Yields {image, top: [{class, probability}]}, or {image, error} for a file
    that cannot be read; the others go on.
    """
    model = trained(opened(run))
    paths = [str(path) for path in paths]
    # A stream is answered name by name; files on the disk in batches.
    many = 1 if "-" in paths else BATCH
    names = _files(paths)
    while waiting := [(path, _read(path, model)) for path in islice(names, many)]:
        yield from _answers(model, waiting, top)


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from (line for line in (row.strip() for row in sys.stdin) if line)
        elif os.path.isdir(path):
            yield from sorted(
                str(p) for p in Path(path).rglob("*") if p.is_file() and not p.name.startswith(".")
            )
        else:
            yield path


def _read(path: str, model: training.Trained) -> torch.Tensor | str:
    try:
        return images.picture(path, model.channels, model.size)
    except DataError as error:
        return str(error)


def _answers(model: training.Trained, waiting: list, top: int) -> Iterator[dict[str, Any]]:
    pixels = [image for _, image in waiting if isinstance(image, torch.Tensor)]
    with torch.no_grad():
        shares = model(torch.stack(pixels).float() / 255).softmax(1) if pixels else []
    rows = iter(shares)
    for path, image in waiting:
        if isinstance(image, str):
            yield {"image": path, "error": image}
        else:
            yield {"image": path, "top": _named(next(rows), model.classes, top)}


def _named(shares: torch.Tensor, classes: list[str], top: int) -> list[dict[str, Any]]:
    best = shares.topk(min(top, len(classes)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [{"class": classes[k], "probability": value} for k, value in pairs]


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
    return export_onnx(model, path, model.channels, model.size, model.classes)


def inspect(data: Any, *, set: Sequence[str] = ()) -> dict[str, Any]:
    """What `data` holds, after every image was read: classes, counts by split, sizes, bad files."""
    recipe = training.load_recipe(None, [*set])
    dataset = images.prepare(data, seed=recipe.seed, **recipe.data.options())
    return images.describe(dataset) | {"split": dataset.split.how}
