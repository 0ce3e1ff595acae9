"""`visus lab`: the lecture's claims as experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from visus.cli.base import Json, app, finish
from visus.errors import RunError


@app.command()
def lab(
    names: Annotated[list[str] | None, typer.Argument(help="Experiments to run, or all; none lists them.")] = None,
    quick: Annotated[bool | None, typer.Option("--quick/--full", help="Minutes on two cores, or the full size, for a GPU; default: full where there is one.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder of figures, numbers and the gallery.")] = Path("runs/lab"),
    seeds: Annotated[int | None, typer.Option(help="Seeds of each experiment.", min=1)] = None,
    processes: Annotated[int, typer.Option(help="Experiments beside each other.", min=1)] = 2,
    again: Annotated[bool, typer.Option("--again", help="Run also what is finished and unchanged.")] = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Run experiments on the lecture's claims, or list them.

    Each leaves a figure, its numbers and a verdict; a gallery page shows all.
    """
    if not names:
        return _list(json_)
    from visus.lab import gallery, runner

    chosen = runner.names(names)
    size = runner.size({None: None, True: "quick", False: "full"}[quick])
    if not json_:
        print(_heading(len(chosen), size, told=quick is not None), flush=True)
    records = runner.run_all(
        chosen, out, processes=processes, on=None if json_ else _say, size=size,
        seeds=seeds, again=again,
    )  # fmt: skip
    page = gallery.write(out, records)
    brief = [{k: v for k, v in r.items() if k != "runs"} for r in records]
    finish(json_, {"experiments": brief, "gallery": str(page)}, lambda: print(f"gallery: {page}"))
    broken = [f"{r['name']} ({r['failed']})" for r in records if "failed" in r]
    if broken:
        raise RunError(f"lab: {len(broken)} broke off: {'; '.join(broken)}")
    return None


def _list(json_: bool) -> None:
    from visus.lab import experiments, runner

    rows = [(n, experiments[n].topic, experiments[n].claim) for n in runner.names(["all"])]  # type: ignore[attr-defined]
    held = [{"name": n, "topic": topic, "claim": claim} for n, topic, claim in rows]
    wide = max(len(n) for n, _, _ in rows)
    finish(
        json_,
        {"experiments": held},
        lambda: print("\n".join(f"{n:{wide}}  {c}" for n, _, c in rows)),
    )


def _heading(count: int, size: str, told: bool) -> str:
    """What is being done; which size, and why, where it was not asked for."""
    some = f"{count} experiment{'s' if count > 1 else ''} at {size} size"
    if told:
        return some
    why = {"full": "a GPU is here; --quick for minutes on two cores", "quick": "no GPU is here; --full for hours on a CPU"}  # fmt: skip
    return f"{some}: {why[size]}"


def _say(record: dict[str, Any]) -> None:
    if "failed" in record:
        return print(f"{record['name']}: broke off: {record['failed']}", flush=True)
    seconds = "reused" if record["reused"] else f"{record['seconds']} s"
    print(f"{record['name']}: {record['verdict']} ({seconds})", flush=True)
    for check in record["checks"]:
        print(f"    {check['sentence']}", flush=True)
    return None
