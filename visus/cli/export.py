"""`visus export`: the model of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visus.cli.base import Json, Run, app, finish


@app.command()
def export(
    run: Run,
    onnx: Annotated[Path, typer.Option("--onnx", help="The ONNX file to write.")],
    json_: Json = False,
) -> None:
    """Write the model of RUN as ONNX, checked against the model.

    Input normalization is inside: it takes images in [0, 1].
    """
    from visus import api

    result = api.export(run, onnx)
    text = "{file}: {bytes} bytes, differs from the model by at most {difference:.1e} in {images} images"
    finish(json_, result, lambda: print(text.format(**result)))
