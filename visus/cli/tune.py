"""`visus tune`: hyper-parameters on validation data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli.base import Json, RecipeFile, Set, app, finish, views
from visus.errors import RunError


@app.command()
def tune(
    data: Annotated[str | None, typer.Argument(help="Folder, manifest, .npz, or a name such as digits; may stand in the recipe.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials in the whole study; default 20, or as many as the time allows.", min=1)] = None,
    time_limit: Annotated[str | None, typer.Option("--time-limit", help="Search this long: seconds, or 90s, 20m, 2h.")] = None,
    storage: Annotated[str | None, typer.Option(metavar="URL", help="A database that many machines share; default: SQLite in the folder.")] = None,
    recipe: RecipeFile = None,
    set_: Set = None,
    vary: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Vary this key alone, e.g. optimizer.rate; repeatable. Default: what is not set and declares a range.")] = None,
    finals: Annotated[int, typer.Option(help="Fresh seeds that the best recipes are trained from again; 0: none.", min=0)] = 2,
    out: Annotated[Path | None, typer.Option("--out", help="The study's folder; default runs/NAME-tune.")] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Search for the recipe with the least validation error on DATA.

    The same command goes on with a study that was stopped.
    """
    from visus import api

    study = api.tune(
        data, trials=trials, time_limit=time_limit, storage=storage, recipe=recipe, set=set_ or [],
        vary=vary or [], finals=finals, out=out, on=views(json_),
    )  # fmt: skip
    result = study.result()
    finish(json_, result, lambda: _summary(result))
    if result["status"] != "done":
        raise RunError(result["message"])


def _summary(result: dict[str, Any]) -> None:
    from visus.report.tuned import summary

    print(summary(result))
