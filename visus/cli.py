"""The command line: parses, calls, prints. No logic, and no torch until a command runs.

Exit status: 0 done, 1 the work failed (one line says why and what to do), 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from visus import __version__
from visus.errors import RunError, VisusError

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
Run = Annotated[Path, typer.Argument(help="The folder of a run that 'visus train' wrote.")]
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


@app.command()
def train(
    data: Annotated[str | None, typer.Argument(help="Folder, manifest, .npz, or a name such as digits; left out with --resume.")] = None,
    recipe: RecipeFile = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder; default runs/NAME.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with the run in this folder.")] = None,
    time_limit: Annotated[str | None, typer.Option("--time-limit", help="Plan the whole run to fit: seconds, or 90s, 20m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; default: chosen from the data.", min=1)] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Train a network on DATA, look once at the test images, leave a report and a model."""
    from visus import api

    edits = [*(set_ or [])]
    edits += [f"training.time_limit={time_limit}"] if time_limit is not None else []
    edits += [f"training.epochs={epochs}"] if epochs is not None else []
    run = api.train(data, recipe=recipe, out=out, resume=resume, set=edits, on=_views(json_))
    result = run.result()
    _finish(json_, result, lambda: _summary(run.folder))
    if result["status"] != "done":
        raise RunError(result["message"])


@app.command()
def inspect(data: Data, set_: Set = None, json_: Json = False) -> None:
    """Read every image of DATA and say what is there, before any training."""
    from visus import api

    facts = api.inspect(data, set=set_ or [])
    _finish(json_, facts, lambda: _table(facts))


@app.command()
def evaluate(
    run: Run,
    data: Annotated[str | None, typer.Argument(help="Other images to test on; default: the run's own test set.")] = None,
    reason: Annotated[str, typer.Option(help="Why test is looked at; the ledger keeps it.")] = "visus evaluate",
    flip: Annotated[bool, typer.Option("--flip", help="Average each image with its mirror image.")] = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Look at the test images of RUN (counted in its ledger) and print the error with its interval."""
    from visus import api

    result = api.evaluate(run, data, reason=reason, flip=flip)
    _finish(json_, result, lambda: print(api.sentence(result)))


@app.command()
def predict(
    run: Run,
    images: Annotated[list[str], typer.Argument(help="Image files or folders; - reads file names from standard input.")],
    top: Annotated[int, typer.Option(help="How many classes to name.", min=1)] = 3,
    json_: Json = False,
) -> None:  # fmt: skip
    """Name the most likely classes of images with the model of RUN."""
    from visus import api

    failed = 0
    rows: list[dict[str, Any]] = []
    for row in api.predict(run, images, top=top):
        failed += "error" in row
        rows.append(row) if json_ else _say(row)
    _finish(json_, {"predictions": rows}, lambda: None)
    raise typer.Exit(1 if failed else 0)


@app.command()
def export(
    run: Run,
    onnx: Annotated[Path, typer.Option("--onnx", help="The ONNX file to write.")],
    json_: Json = False,
) -> None:
    """Write the model of RUN as ONNX, input normalization inside, checked against the model."""
    from visus import api

    result = api.export(run, onnx)
    text = "{file}: {bytes} bytes, differs from the model by at most {difference:.1e} in {images} images"
    _finish(json_, result, lambda: print(text.format(**result)))


@app.command()
def report(
    run: Run,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json_: Json = False,
) -> None:
    """Write the report of RUN again from its ledger: one offline HTML file."""
    from visus.report import write

    path = write(run)
    _finish(json_, {"report": str(path)}, lambda: print(path))
    if open_:
        typer.launch(str(path))


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


def _views(json_: bool) -> list[Callable]:
    from rich.console import Console

    from visus.report.terminal import view

    return [view(Console(stderr=json_))]


def _finish(json_: bool, result: dict[str, Any], show: Callable[[], Any]) -> None:
    if json_:
        print(json.dumps(result, allow_nan=False))
    else:
        show()


def _summary(folder: Path) -> None:
    from rich.console import Console

    from visus import ledger
    from visus.report.terminal import summary

    found = summary(ledger.history(ledger.read(folder)))
    Console(highlight=False).print(found, soft_wrap=True)


def _say(row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"visus: {row['error']}", file=sys.stderr)
        return
    named = "  ".join(f"{item['class']} {item['probability']:.1%}" for item in row["top"])
    print(f"{row['image']}: {named}")


def _table(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("class", *facts["counts"], box=None)
    for name in facts["classes"]:
        table.add_row(name, *(str(counts.get(name, 0)) for counts in facts["counts"].values()))
    console = Console()
    console.print(table)
    size = "x".join(map(str, facts["size"]))
    console.print(f"{facts['source']}: {size} pixels, {facts['channels']} channel(s); "
                  f"mean {facts['mean']}, std {facts['std']}", soft_wrap=True)  # fmt: skip
    for bad in facts["bad"]:
        console.print(f"unreadable: {bad['name']}: {bad['reason']}", soft_wrap=True, markup=False)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected failure is one line and an exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # What stands behind a script belongs to the script.
    own = next(
        (n for n, word in enumerate(words) if words[0] == "watch" and word.endswith(".py")),
        len(words),
    )
    debug = "--debug" in words[:own]
    sys.exit(_status([w for w in words[:own] if w != "--debug"] + words[own:], debug))


def _status(words: list[str], debug: bool) -> int:
    try:
        return app(words, prog_name="visus", standalone_mode=False) or 0
    except KeyboardInterrupt:
        return _fail("interrupted before a checkpoint existed; the same command starts again", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except VisusError as error:
        if debug:
            raise
        return _fail(str(error), error.status)
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's own errors: a typo, a missing word
            return _fail(f"{error.format_message()} See 'visus --help'.", 2)  # type: ignore[attr-defined]
        if debug:
            raise
        return _fail(
            f"{type(error).__name__}: {error}; this is a fault of visus, --debug shows where", 1
        )


def _fail(text: str, status: int) -> int:
    print("visus: " + " ".join(text.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
