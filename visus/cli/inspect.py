"""`visus inspect`: the audit of the data, before any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli.base import Data, Json, Set, app, finish


@app.command()
def inspect(
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the page and the lists for data.exclude; default: runs/NAME-audit.")] = None,
    cheap: Annotated[bool, typer.Option("--cheap", help="Leave out what takes long: wrong labels, drift, sizes.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Most seconds for wrong labels: small nets are trained. Where too short, a linear model judges.")] = 240,
    set_: Set = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Audit DATA and its split: copies, wrong labels, drift."""
    from visus import api

    with _told(json_) as say:
        facts = api.inspect(
            data, set=set_ or [], out=out or _place(data), cheap=cheap, seconds=seconds, say=say
        )
    finish(json_, facts, lambda: _show(facts))


def _place(data: str) -> Path:
    path = Path(data)
    return Path("runs") / f"{path.resolve().stem if path.exists() else path.stem}-audit"


@contextmanager
def _told(json_: bool) -> Iterator[Callable[[str], None]]:
    """Says on standard error what is being done, in one line that changes."""
    from rich.console import Console

    with Console(stderr=True).status("audit") as status:
        yield lambda text: status.update(f"audit: {text}")


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console

    from visus.report.inspected import letter

    Console().print(letter(facts), soft_wrap=False)
