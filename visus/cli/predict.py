"""`visus predict`: what the model of a run says about images."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from visus.cli.base import Json, Run, app, finish


@app.command()
def predict(
    run: Run,
    images: Annotated[list[str], typer.Argument(help="Image files or folders; - reads file names from standard input.")],
    top: Annotated[int, typer.Option(help="How many classes to name.", min=1)] = 3,
    json_: Json = False,
) -> None:  # fmt: skip
    """Name the most likely classes of images with the model of RUN."""
    from visus import api

    failed = 0
    rows: list[dict[str, Any]] = []
    for row in api.predict(run, images, top=top):
        failed += "error" in row
        rows.append(row) if json_ else _say(row)
    finish(json_, {"predictions": rows}, lambda: None)
    raise typer.Exit(1 if failed else 0)


def _say(row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"visus: {row['error']}", file=sys.stderr)
        return
    named = "  ".join(f"{item['class']} {item['probability']:.1%}" for item in row["top"])
    print(f"{row['image']}: {named}")
