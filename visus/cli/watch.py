"""`visus watch` and `visus explain`: any program under the doctor."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli import interrupt
from visus.cli.base import app


@app.command(context_settings={"allow_interspersed_args": False})
def watch(
    script: Annotated[Path, typer.Argument(help="A PyTorch program; it runs unchanged.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="What the program is given.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings to FILE as JSON.")] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write what was seen to FILE as one offline HTML page.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="End the program after this many optimizer steps.", min=1)] = None,
) -> None:  # fmt: skip
    """Run SCRIPT under the doctor: what keeps it from learning.

    What stands behind SCRIPT is given to it. Its results stay as they are, bit for bit.
    """
    from visus import doctor
    from visus.doctor.letter import letter
    from visus.ledger import Ledger

    for file, option in ((json_, "--json"), (report, "--report")):
        _writable(file, option)
    run = doctor.watch  # reads in torch
    interrupt.release()  # from here on Ctrl-C is the script's
    with _view(script.name, max_steps) as view:
        ledger = Ledger(on=[view] if view is not None else [])
        told = ledger if report is not None or view is not None else None  # else nobody reads
        result = run(script, arguments or [], max_steps=max_steps, json_path=json_, ledger=told)
    sys.stdout.flush()
    said = letter(result["findings"], steps=result["steps"], error=result["error"])
    last = {found["id"] for found in result["findings"]}
    if gone := [name for name in (view.found if view is not None else ()) if name not in last]:
        said += f"\n\nSaid while it ran and not confirmed at the end: {', '.join(gone)}."
    print(said, file=sys.stderr)
    if report is not None:
        _write(report, ledger.lines)
        print(f"\nThe page: {report}", file=sys.stderr)
    raise typer.Exit(result["status"])


def _view(name: str, steps: int | None) -> Any:
    # The live view, where somebody sees it: to a pipe nothing is drawn, and rich is not read in.
    if not _seen():
        return nullcontext()
    from rich.console import Console

    from visus.report.bedside import Bedside

    view = Bedside(Console(stderr=True), name, steps)
    return view if view.foot is not None else nullcontext()


def _seen() -> bool:
    # Where rich may take standard error for a terminal; it is asked itself then.
    asked = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS")
    return sys.stderr.isatty() or any(name in os.environ for name in asked)


def _writable(file: Path | None, option: str) -> None:
    # Found out now, not after an hour of training.
    from visus.errors import UsageError

    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        what = "is a folder" if file.is_dir() else f"lies in no folder: {file.absolute().parent}"
        raise UsageError(
            f"watch: {option} {file} {what}; give the name of a file in a folder that exists"
        )


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    from visus.files import replace_text
    from visus.report import compose

    replace_text(path, compose(lines).html)


@app.command()
def explain(
    finding: Annotated[str, typer.Argument(metavar="ID", help="A finding, such as relu-dead.")],
) -> None:
    """Print the page of a finding: what, why, cure, when it is wrong."""
    from visus import doctor

    print(doctor.explain(finding))
