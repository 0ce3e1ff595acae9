"""`visus watch` and `visus explain`: any program under the doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli.base import app


@app.command(context_settings={"allow_interspersed_args": False})
def watch(
    script: Annotated[Path, typer.Argument(help="A PyTorch program; it runs unchanged.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="What the program is given.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings to FILE as JSON.")] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write what was seen to FILE as one offline HTML page.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="End the program after this many optimizer steps.", min=1)] = None,
) -> None:  # fmt: skip
    """Run SCRIPT with its ARGS under the doctor and say what keeps it from learning, and why."""
    from visus import doctor
    from visus.doctor.letter import letter
    from visus.ledger import Ledger
    from visus.report.bedside import Bedside

    for file, option in ((json_, "--json"), (report, "--report")):
        _writable(file, option)
    console = _console()
    with Bedside(console, script.name, max_steps) as view:
        ledger = Ledger(on=[view])
        told = ledger if report is not None or view.foot is not None else None  # else nobody reads
        result = doctor.watch(
            script, arguments or [], max_steps=max_steps, json_path=json_, ledger=told
        )
    sys.stdout.flush()
    said = letter(result["findings"], steps=result["steps"], error=result["error"])
    last = {found["id"] for found in result["findings"]}
    if gone := [name for name in view.found if name not in last]:
        said += f"\n\nSaid while it ran and not confirmed at the end: {', '.join(gone)}."
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    if report is not None:
        _write(report, ledger.lines)
        console.print(f"\nThe page: {report}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(result["status"])


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


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
    """Print the page of a finding: what, why, how it is measured, the cure, when it is wrong."""
    from visus import doctor

    print(doctor.explain(finding))
