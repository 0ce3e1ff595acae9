"""`tune`: the recipe that validation likes best, by search. It has no way to the test images.

The folder of a study holds `request.json`, `split.json`, the ledger, the report, `study.db` (where
no other database is named) and `best.toml`. The same call again goes on, with more trials where
more are wished for; several processes, on one machine or many, may share a study.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from visus import data as images
from visus import kernels, runs, training
from visus import ledger as book
from visus.api.run import bare, recorded
from visus.errors import RunError, UsageError
from visus.files import replace_text
from visus.ledger import Ledger, Line
from visus.training.tuning import Tuning, given, put
from visus.training.values import duration

BEST, DATABASE = "best.toml", "study.db"


@dataclass(frozen=True)
class Study:
    """A study that `tune` left in a folder, and what its ledger says."""

    folder: Path

    @property
    def lines(self) -> list[Line]:
        """The ledger, a line an event."""
        return book.read(self.folder)

    @property
    def best(self) -> training.Recipe:
        """The chosen recipe; `visus.train(recipe=study.best)` trains with it."""
        return training.load_recipe(self.folder / BEST)

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The trials in order: number, state, values, error, loss, curve of [epochs, error]."""
        found = {line["number"]: bare(line) for line in book.select(self.lines, "tuning-trial")}
        return [found[number] for number in sorted(found)]

    def result(self) -> dict[str, Any]:
        """What `visus tune --json` prints: status, metrics, values of the best recipe, trials."""
        lines = self.lines
        end = book.last(lines, "end") or {"status": "unfinished", "metrics": {}}
        found = book.last(lines, "tuning-result") or {}
        keys = ("chosen", "values", "importance", "finals", "counts")
        return {
            "status": end["status"], "message": end.get("message", ""), "metrics": end["metrics"],
            **{key: found[key] for key in keys if key in found}, "trials": self.trials,
            "run": str(self.folder), "recipe": str(self.folder / BEST),
            "report": str(self.folder / "report.html"),
        }  # fmt: skip


def tune(
    data: Any = None, *, trials: int | None = None, time_limit: float | str | None = None,
    storage: str | None = None, recipe: str | Path | training.Recipe | None = None,
    set: Sequence[str] = (), vary: Sequence[str] = (), finals: int = 2,
    out: str | Path | None = None, on: Iterable[Callable[[Line], Any]] = (), **overrides: Any,
) -> Study:  # fmt: skip
    """Search the recipe's documented ranges for the least validation error; the same call goes on.

    `trials` in the whole study, `time_limit` (seconds, "20m") of this call; without either 20
    trials. `storage` is a database URL that many processes may share, by default SQLite in the
    folder. Keys that `recipe`, `set` or keywords set are fixed, the others vary where they declare
    a range (docs/recipe.md); `vary` names the keys instead. `finals` fresh seeds tell the best
    recipes and the plain one apart. Raises a `VisusError` that says in one line what to do.
    """
    tree = _given(recipe, [*set], overrides)
    data = tree.get("data", {}).get("path") if data is None else data
    if data is None:
        raise UsageError("tune: no data; give a folder of images, a manifest, or a name: digits")
    _alone()
    named = place(data) if isinstance(data, (str, Path)) else runs.ARRAYS
    request = {"data": named, "recipe": tree, "tune": {"vary": sorted(vary)}}
    folder = runs.open_run(out, request, suffix="-tune", again=True)
    ledger = Ledger(folder, on=on)
    with recorded(folder, ledger):
        limits = {"trials": trials, "seconds": seconds(time_limit), "finals": finals}
        source = named if isinstance(data, (str, Path)) else data
        _search(source, request, storage, folder, ledger, limits)
    return Study(folder)


def _search(
    data: Any, request: runs.Request, storage: str | None, folder: Path, ledger: Ledger, limits: dict
) -> None:  # fmt: skip
    kernels.info()  # compiled here, before the first trial is timed
    began, tree = time.monotonic(), request["recipe"]
    recipe = training.load_recipe(None, (), **tree)
    dataset = images.prepare(
        data, seed=recipe.seed, folder=folder, ledger=ledger, **recipe.reading()
    )
    url = storage or f"sqlite:///{folder.resolve() / DATABASE}"
    tuning = Tuning(
        tree, dataset, ledger, url=url, name=_name(dataset.split.sha256, request),
        vary=tuple(request["tune"]["vary"]), **limits,
    )  # fmt: skip
    found = _carried_out(tuning, folder, storage)
    if found is not None:
        _write(found, tuning, request, folder)
        ledger.write("tuning-result", file=str(folder / BEST), **found)
        _end(found, tuning, ledger, time.monotonic() - began, _go_on(folder, storage))


def _carried_out(tuning: Tuning, folder: Path, storage: str | None) -> dict[str, Any] | None:
    """The result; None where the search was stopped before there was any, which ends it too."""
    try:
        return tuning.run()
    except RunError:
        if not tuning.stopping:
            raise
        message = f"stopped before a trial was finished; go on with: {_go_on(folder, storage)}"
        tuning.ledger.write("end", status="stopped", message=message, metrics={})
        return None


def _end(found: dict, tuning: Tuning, ledger: Ledger, took: float, go_on: str) -> None:
    counts, mine = found["counts"], tuning.made
    metrics = {
        "validation_error": found["error"], "default_validation_error": found["default_error"],
        "trials": sum(n for key, n in counts.items() if key not in ("finals", "interrupted")),
        "seconds": took, "trials_per_minute": round(60 * mine / took, 2) if took else None,
    }  # fmt: skip
    status = "stopped" if tuning.stopping else "done"
    message = f"stopped after {metrics['trials']} trials; go on with: {go_on}"
    ledger.write("end", status=status, message=message if tuning.stopping else "", metrics=metrics)


def _write(found: dict[str, Any], tuning: Tuning, request: runs.Request, folder: Path) -> None:
    """The chosen recipe as TOML: the keys that were set, those that were found, and the epochs."""
    tree = tuning.recipe(found["values"])
    if request["data"] != runs.ARRAYS:
        put(tree, "data.path", request["data"])
    head = (
        f"# Found by visus tune: validation error {found['error']:.2%} in trial {found['chosen']}.\n"
        "# Train with it: visus train --recipe FILE\n\n"
    )
    replace_text(folder / BEST, head + tomli_w.dumps(tree))


def _given(recipe: Any, edits: list[str], overrides: dict[str, Any]) -> dict[str, Any]:
    """The keys that were set, from a file or a recipe, edits and keywords."""
    if isinstance(recipe, training.Recipe):
        return given(training.load_recipe(None, edits, **given(recipe) | overrides))
    return given(training.load_recipe(recipe, edits, **overrides))


def _name(split: str, request: runs.Request) -> str:
    """Equal for the same images, recipe and keys, wherever they lie: then the study is the same."""
    tree = {k: v for k, v in request["recipe"].items() if k != "data"}
    asked = json.dumps([split, tree, request["tune"]], sort_keys=True)
    return f"visus-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"


def _go_on(folder: Path, storage: str | None) -> str:
    """The command that goes on: the one that was given, with the folder named."""
    words = sys.argv[1:]
    if not words or words[0] != "tune":
        return f"the same call with out={str(folder)!r}"
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words = [*words, "--out", str(folder)]
    return "visus " + shlex.join(words)


def _alone() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "tune: trials do not share ranks; start 'visus tune' once on each machine, without "
            "torchrun, with one --storage"
        )


def place(data: str | Path) -> str:
    """An absolute path, so that the study can be used from any folder; names stay names."""
    return os.path.abspath(data) if os.path.exists(data) else str(data)


def seconds(limit: float | str | None) -> float | None:
    """A time limit in seconds, from a number or a text such as "20m"."""
    try:
        found = duration(limit)
    except ValueError as error:
        raise UsageError(f"time-limit: {limit!r}; {str(error).removeprefix('Input ')}") from None
    if found is not None and found <= 0:
        raise UsageError(f"time-limit: {limit!r} is no time; give seconds, or 90s, 20m, 2h")
    return found
