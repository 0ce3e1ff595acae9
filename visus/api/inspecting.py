"""`inspect`: the audit of some data as one call, with its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visus import data as images
from visus import report, training
from visus.api.audit import audit
from visus.api.audit_net import SECONDS
from visus.data import audit as parts
from visus.errors import DataError
from visus.files import make_folder, replace_text
from visus.ledger import Ledger
from visus.report.page import NAME

MOST_ODD = 200


def inspect(
    data: Any, *, set: Sequence[str] = (), out: str | Path | None = None, cheap: bool = False,
    seconds: float = SECONDS,
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """Audit `data` and its split before any training; writes nothing but into `out`.

    Returns what `--json` prints: findings, the facts of the data (classes, counts by split, bad
    files, mean, std) and, under `audit`, copies, suspects, drift and sizes. With `out`, a folder,
    the page `report.html` and lists for `data.exclude` are left there. `set` are edits of the recipe's
    data keys. Labels are judged by small nets that are trained for `seconds` at most; where that is
    too short, by a linear model. Unreadable files stop nothing here: they are listed. `say` hears what is being done.
    """
    ledger = Ledger()
    say("reading every image")
    dataset, undivided = _prepared(data, [*set], ledger)
    folder = _folder(out)  # not before: a typo leaves no folder behind
    done = audit(dataset, ledger, cheap=cheap, folder=folder, say=say, undivided=undivided, seconds=seconds,
                 sizes=None if cheap else lambda: _sizes(data, dataset))  # fmt: skip
    result = images.describe(dataset) | {
        "split": dataset.split.how, "findings": done.findings, "audit": done.facts, "errors": done.errors,
    }  # fmt: skip
    ledger.write("end", status="done", message="", metrics={})
    if folder is not None:
        result["report"] = str(replace_text(folder / NAME, report.compose(ledger.lines).html))
    return result


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    return make_folder(Path(out), "out", "choose another --out")


def _prepared(data: Any, edits: list[str], ledger: Ledger) -> tuple[Any, str]:
    """The data set, and why it could not be divided where it is taken whole."""
    recipe = training.load_recipe(None, edits)
    ways: dict[str, Any] = (
        {"max_bad": 1.0} if not any(e.startswith("data.max_bad") for e in edits) else {}
    )
    options: dict[str, Any] = {**recipe.reading(), **ways}
    try:
        return images.prepare(data, seed=recipe.seed, ledger=ledger, **options), ""
    except DataError as error:
        if not str(error).startswith("split:"):
            raise
        whole: dict[str, Any] = options | {"validation": 0.0, "test": 0.0}
        return images.prepare(data, seed=recipe.seed, ledger=ledger, **whole), str(error)


def _sizes(data: Any, dataset: images.Dataset) -> tuple[Any, list[str]] | None:
    """Original sizes, and the names they belong to; None for images that are no files."""
    found = images.open_source(data)
    if found.images.in_memory:
        return None
    known = {
        name for part in ("train", "validation", "test") for name, _, _ in dataset.split.rows[part]
    }
    keep = [i for i, name in enumerate(found.images.names) if name in known]
    chosen = found.images.take(keep)
    return parts.sizes(chosen), chosen.names
