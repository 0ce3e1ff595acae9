"""`visus inspect`: the audit of the data, before any training."""

from __future__ import annotations

from typing import Any

from visus.cli.base import Data, Json, Set, app, finish


@app.command()
def inspect(data: Data, set_: Set = None, json_: Json = False) -> None:
    """Read every image of DATA and say what is there, before any training."""
    from visus import api

    facts = api.inspect(data, set=set_ or [])
    finish(json_, facts, lambda: _table(facts))


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
