"""What all commands share: the app, common options, one way to print a result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from visus import __version__
from visus.runs import must_exist

STARTED = time.monotonic()  # of the process, nearly: a time limit counts from here

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Trains networks that see, measures how well they learn, and says what went wrong.",
    epilog="Add --debug to any command for the full traceback of an error.",
)

Data = Annotated[
    str,
    typer.Argument(
        help="Folder, manifest (.csv, .parquet), .npz, or a name such as digits or cifar10."
    ),
]
Run = Annotated[
    Path,
    typer.Argument(help="The folder of a run that 'visus train' wrote.", callback=must_exist),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output and nothing else there."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one key of the recipe, e.g. optimizer.rate=0.1; repeatable.",
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A recipe in TOML; see docs/recipe.md.")
]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    if version:
        print(f"visus {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def views(json_: bool) -> list[Callable]:
    """The terminal's view of a ledger; on standard error where standard output is JSON."""
    from rich.console import Console

    from visus.report.terminal import view

    return [view(Console(stderr=json_))]


def speaks() -> bool:
    """Whether this process is alone or the first rank of torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) <= 1 or os.environ.get("RANK", "0") == "0"


def finish(json_: bool, result: dict[str, Any], show: Callable[[], Any]) -> None:
    """Print the result as JSON, or show it; of several ranks the first speaks for all."""
    if not speaks():
        return
    if json_:
        print(json.dumps(result, allow_nan=False))
    else:
        show()
