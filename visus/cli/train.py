"""`visus train`: from a folder of images to a model and a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from visus.cli.base import Json, RecipeFile, Set, app, finish
from visus.errors import RunError


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(help="Folder, manifest, .npz, or a name such as digits; left out with --resume.")] = None,
    recipe: RecipeFile = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder; default runs/NAME.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with the run in this folder.")] = None,
    time_limit: Annotated[str | None, typer.Option("--time-limit", help="Plan the whole run to fit: seconds, or 90s, 20m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; default: chosen from the data.", min=1)] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Train a network on DATA, look once at the test images, leave a report and a model."""
    from visus import api

    edits = [*(set_ or [])]
    edits += [f"training.time_limit={time_limit}"] if time_limit is not None else []
    edits += [f"training.epochs={epochs}"] if epochs is not None else []
    run = api.train(data, recipe=recipe, out=out, resume=resume, set=edits, on=_views(json_))
    result = run.result()
    finish(json_, result, lambda: _summary(run.folder))
    if result["status"] != "done":
        raise RunError(result["message"])


def _views(json_: bool) -> list[Callable]:
    from rich.console import Console

    from visus.report.terminal import view

    return [view(Console(stderr=json_))]


def _summary(folder: Path) -> None:
    from rich.console import Console

    from visus import ledger
    from visus.report.terminal import summary

    found = summary(ledger.history(ledger.read(folder)))
    Console(highlight=False).print(found, soft_wrap=True)
