"""`visus report`: the report of a run, written again."""

from __future__ import annotations

from typing import Annotated

import typer

from visus.cli.base import Json, Run, app, finish


@app.command()
def report(
    run: Run,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json_: Json = False,
) -> None:
    """Write the report of RUN again: one offline HTML file."""
    from visus.report import write

    path = write(run)
    finish(json_, {"report": str(path)}, lambda: print(path))
    if open_:
        typer.launch(str(path))
