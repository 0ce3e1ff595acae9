"""`visus train`: from a folder of images to a model and a report."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli.base import STARTED, Json, RecipeFile, Set, app, finish, views
from visus.errors import RunError
from visus.runs import must_exist


class Cure(StrEnum):
    """What becomes of a remedy."""

    on = "on"
    ask = "ask"
    off = "off"


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(help="Folder, manifest, .npz, or a name such as digits; left out with --resume.")] = None,
    recipe: RecipeFile = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder; default runs/NAME.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", callback=must_exist, help="Go on with the run in this folder.")] = None,
    time_limit: Annotated[str | None, typer.Option("--time-limit", help="Plan the whole run to fit: seconds, or 90s, 20m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; default: chosen from the data.", min=1)] = None,
    cure: Annotated[Cure, typer.Option("--cure", help="What to do with a remedy that a trial has proved: keep it, ask, or (off) try none.")] = Cure.on,
    no_cure: Annotated[bool, typer.Option("--no-cure", help="Only report what goes wrong: --cure off.")] = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Train a network on DATA and leave a report and a model.

    The test images are looked at once, at the end. The same command goes on with a stopped run.
    """
    from visus import api

    edits = [*(set_ or [])]
    edits += [f"training.time_limit={time_limit}"] if time_limit is not None else []
    edits += [f"training.epochs={epochs}"] if epochs is not None else []
    shown = views(json_)
    asks = cure is Cure.ask and not no_cure
    how = partial(_asked, shown) if asks else cure is not Cure.off and not no_cure
    run = api.train(
        data, recipe=recipe, out=out, resume=resume, set=edits, on=shown, cure=how, began=STARTED
    )
    result = run.result()
    finish(json_, result, lambda: _summary(run.folder))
    if result["status"] != "done":
        raise RunError(result["message"])


def _asked(shown: Sequence[Any], trial: dict[str, Any]) -> bool:
    """Ask in the terminal whether to keep what the trial proved; without one, the trial decides."""
    if not sys.stdin.isatty():
        return True
    for view in shown:
        view.close()  # a live line would be drawn over the question; the next event opens it again
    if "said" in trial:  # a division anew, which no fork can prove
        return _confirmed(f"{trial['said']}. Do it?")
    low, high = trial["interval"]
    said = (
        f"{trial['title']} ({', '.join(trial['edits'])}): {trial['why']}. On a fork it made "
        f"{trial['effect']:.1%} fewer validation errors ({low:.1%} to {high:.1%}). Keep it?"
    )
    return _confirmed(said)


def _confirmed(said: str) -> bool:
    """The answer; no at the end of input. Ctrl-C leaves the question, and then stops the run."""
    heard, before = [], signal.getsignal(signal.SIGINT)

    def leave(*_: object) -> None:
        heard.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, leave)  # the run's own only takes note: the question would stay
    try:
        return typer.confirm(said, default=True, err=True)
    except typer.Abort:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _summary(folder: Path) -> None:
    from rich.console import Console

    from visus import ledger
    from visus.report.terminal import summary

    found = summary(ledger.history(ledger.read(folder)))
    Console(highlight=False).print(found, soft_wrap=True)
