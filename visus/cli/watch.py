"""`visus watch` and `visus explain`: any program under the doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from visus.cli.base import app


@app.command(context_settings={"allow_interspersed_args": False})
def watch(
    script: Annotated[Path, typer.Argument(help="A PyTorch program; it runs unchanged.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="What the program is given.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings to FILE as JSON.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="End the program after this many optimizer steps.", min=1)] = None,
) -> None:  # fmt: skip
    """Run SCRIPT with its ARGS under the doctor and say what keeps it from learning, and why."""
    from visus import doctor
    from visus.doctor.letter import letter

    result = doctor.watch(script, arguments or [], max_steps=max_steps, json_path=json_)
    print(letter(result["findings"], steps=result["steps"]), file=sys.stderr)
    raise typer.Exit(result["status"])


@app.command()
def explain(
    finding: Annotated[str, typer.Argument(metavar="ID", help="A finding, such as relu-dead.")],
) -> None:
    """Print the page of a finding: what, why, how it is measured, the cure, when it is wrong."""
    from visus import doctor

    print(doctor.explain(finding))
