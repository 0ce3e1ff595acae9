"""`visus evaluate`: one counted look at test."""

from __future__ import annotations

from typing import Annotated

import typer

from visus.cli.base import Json, Run, app, finish


@app.command()
def evaluate(
    run: Run,
    data: Annotated[str | None, typer.Argument(help="Other images to test on; default: the run's own test set.")] = None,
    reason: Annotated[str, typer.Option(help="Why test is looked at; the ledger keeps it.")] = "visus evaluate",
    flip: Annotated[bool, typer.Option("--flip", help="Average each image with its mirror image.")] = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Look at the test images of RUN: the error with its interval.

    Each look is counted in the ledger of RUN.
    """
    from visus import api

    result = api.evaluate(run, data, reason=reason, flip=flip)
    finish(json_, result, lambda: print(api.sentence(result)))
