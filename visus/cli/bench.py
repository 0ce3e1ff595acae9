"""`visus bench`: the questions that the benchmarks answer, and running them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import visus
from visus.cli.base import app
from visus.errors import UsageError, VisusError, unknown


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def bench(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...] [OPTIONS]",
            help="Benchmarks to run, then options for them; none: list the questions.",
        ),
    ] = None,
) -> None:
    """Run benchmarks, or list the question that each answers."""
    table = questions(folder())
    words = words or []
    names = words[: next((i for i, w in enumerate(words) if w.startswith("-")), len(words))]
    for name in names:
        if name not in table:
            raise UsageError(unknown("benchmark", name, list(table)))
    if not words:
        for name, text in table.items():
            print(f"{name:14s} {text}")
    elif not names:
        raise UsageError("bench: an option before any name; say which benchmark first")
    for name in names:
        run(folder() / f"{name}.py", words[len(names) :])


def folder() -> Path:
    """The benchmarks of the checkout that this package lies in, or of the current folder."""
    for place in (Path(visus.__file__).parents[1], Path.cwd()):
        if (place / "benchmarks" / "harness.py").exists():
            return place / "benchmarks"
    raise VisusError(
        "bench: the installed package has no benchmarks; run it in a checkout of the repository"
    )


def questions(where: Path) -> dict[str, str]:
    """Name and question of each benchmark: the files whose docstring begins with a question."""
    found = {}
    for path in sorted(where.glob("*.py")):
        text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
        first = re.match(r".*?[.?](?=\s|$)", text)
        if first and first[0].endswith("?"):
            found[path.stem] = first[0]
    return found


def run(file: Path, options: list[str]) -> None:
    """One benchmark in a process of its own, with its options; raises `VisusError` if it failed."""
    path = os.pathsep.join(filter(None, [str(file.parents[1]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(file), *options]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False)
    if done.returncode:
        raise VisusError(f"bench: {file.stem} ended with status {done.returncode}; its own words stand above")  # fmt: skip
