"""Looks at the test images: each is counted in the ledger, with its reason and an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visus import data as images
from visus import report, runs, training
from visus.api.run import Run, opened, trained
from visus.errors import UsageError
from visus.ledger import Ledger
from visus.runs import ARRAYS


def evaluate(
    run: str | Path | Run, data: Any = None, *, reason: str = "visus.evaluate", flip: bool = False
) -> dict[str, Any]:  # fmt: skip
    """Look at the test images of a run, or at all images of `data`, and return the numbers.

    Returns n, error (share of 1), interval (Wilson, 95 %), loss, and `look`, the number of this
    look at the run's own test set. The ledger and the report are brought up to date. `flip`
    averages the probabilities of each image and of its mirror image.
    """
    run = opened(run)
    request, model = runs.read_request(run.folder), trained(run)
    if data is not None:
        return _other(data, model, flip)
    if request["data"] == ARRAYS:
        raise UsageError(
            "evaluate: the run was trained on arrays, which are not kept; give test data"
        )
    ledger, recipe = Ledger(run.folder), model.recipe
    dataset = images.prepare(
        request["data"], seed=recipe.seed, folder=run.folder, **recipe.reading()
    )
    found = look(model, dataset, ledger, reason=reason, flip=flip)
    report.write(run.folder)
    return found | {"run": str(run.folder)}


def look(
    model: training.Trained, dataset: images.Dataset, ledger: Ledger, *, reason: str, flip: bool = False
) -> dict[str, Any]:  # fmt: skip
    """One counted look: open the vault, evaluate the model, write what was seen."""
    test = dataset.vault.look(reason, ledger)
    seen = training.evaluate(model, test, flip=flip)
    number, n = dataset.vault.looks(ledger), len(seen)
    low_high = list(seen.interval)
    ledger.write(
        "look",
        number=number,
        reason=reason,
        n=n,
        error=seen.error,
        interval=low_high,
        loss=seen.loss,
    )
    if rows := seen.metrics():
        ledger.write("metrics", split="test", rows=rows)
    for kind, fields in model.task.lines(seen, test, model):
        ledger.write(kind, split="test", **fields)
    return numbers(seen) | {"looks": number}


def numbers(seen: Any) -> dict[str, Any]:
    """The numbers of an evaluation under the names of the ledger."""
    low, high = seen.interval
    found = {
        "test_n": len(seen),
        "test_error": _known(seen.error),
        "test_interval": [_known(low), _known(high)],
        "test_loss": _known(seen.loss),
    }
    rows = {row["name"]: {k: row[k] for k in ("value", "interval")} for row in seen.metrics()}
    return found | ({"test_metrics": rows} if rows else {})


def _known(value: float) -> float | None:
    """None where there is no number: JSON has no nan."""
    return value if value == value else None


def _other(data: Any, model: training.Trained, flip: bool) -> dict[str, Any]:
    """Evaluate on images that are not the run's own; its test set stays in the vault."""
    test = images.every(data, model.classes, model.channels, model.size, task=model.task.name)
    return numbers(training.evaluate(model, test, flip=flip)) | {"data": str(data)}


def sentence(found: dict[str, Any]) -> str:
    """The numbers of a look as lines for a person."""
    low, high = found["test_interval"]
    if found["test_error"] is None or low is None:
        return f"{found['test_n']} images: too few for an error"
    said = (
        f"test error {found['test_error']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{found['test_n']} images, look {found.get('looks', '-')})"
    )
    rows = [_measure(name, row) for name, row in found.get("test_metrics", {}).items()]
    return "\n".join([said, *rows])


def _measure(name: str, row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"  {name}: not known"
    bounds = f" ({row['interval'][0]:.4g} to {row['interval'][1]:.4g})" if row["interval"] else ""
    return f"  {name}: {row['value']:.4g}{bounds}"
