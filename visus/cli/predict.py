"""`visus predict`: what the model of a run says about images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli.base import Json, Run, app, finish


@app.command()
def predict(
    run: Run,
    images: Annotated[list[str], typer.Argument(help="Image files or folders; - reads file names from standard input.")],
    top: Annotated[int, typer.Option(help="How many classes to name.", min=1)] = 3,
    masks: Annotated[Path | None, typer.Option("--masks", help="Segmentation: the folder to write each image's mask into.")] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Say what the model of RUN sees in images.

    Classes, numbers, scores, labels or pixels, as its task is.
    """
    from visus import api

    failed = 0
    rows: list[dict[str, Any]] = []
    for row in api.predict(run, images, top=top, masks=masks):
        failed += "error" in row
        rows.append(row) if json_ else _say(row)
    finish(json_, {"predictions": rows}, lambda: None)
    raise typer.Exit(1 if failed else 0)


def _say(row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"visus: {row['error']}", file=sys.stderr)
        return
    print(f"{row['image']}: {_words(row)}")


def _words(row: dict[str, Any]) -> str:
    """What was said of an image, in a line: the first that its task gives."""
    if "values" in row:
        return "  ".join(f"{name} {value:.6g}" for name, value in row["values"].items())
    if "score" in row:
        return f"score {row['score']:.4g}"
    if "pixels" in row:
        best = sorted(row["pixels"].items(), key=lambda pair: -pair[1])
        return (
            "  ".join(f"{name} {share:.1%}" for name, share in best)
            + f"  {row.get('mask', '')}".rstrip()
        )
    if "shares" in row:
        return "  ".join(f"{name} {share:.1%}" for name, share in row["shares"].items())
    named = "  ".join(f"{item['class']} {item['probability']:.1%}" for item in row["top"])
    if "labels" in row:
        return f"{', '.join(row['labels']) or 'no label'}  ({named})"
    return (
        f"{row['class']}  ({named}, threshold {row['threshold']:.3g})" if "class" in row else named
    )
