"""Looks at the test images: each is counted in the ledger, with its reason and an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from visus import data as images
from visus import report, runs, training
from visus.api.run import Run, opened, trained
from visus.errors import UsageError
from visus.ledger import Ledger
from visus.runs import ARRAYS

MISTAKES = 24  # worst mistakes shown in the report


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
        request["data"], seed=recipe.seed, folder=run.folder, **recipe.data.options()
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
    ledger.write("confusion", split="test", classes=model.classes, matrix=seen.confusion())
    ledger.write("per-class", split="test", rows=seen.per_class(model.classes))
    ledger.write("mistakes", split="test", items=_mistakes(seen, test, model.classes))
    return numbers(seen) | {"looks": number}


def numbers(seen: training.Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation under the names of the ledger."""
    low, high = seen.interval
    return {
        "test_n": len(seen.targets),
        "test_error": seen.error,
        "test_interval": [low, high],
        "test_loss": seen.loss,
    }


def _mistakes(
    seen: training.Evaluation, test: images.ImageSet, classes: list[str]
) -> list[dict[str, Any]]:  # fmt: skip
    """The most confident wrong answers, each with its picture."""
    return [
        {
            "name": row["name"],
            "png": images.thumbnail(test.batch(torch.tensor([row["index"]]))[0]),
            "label": classes[row["label"]],
            "predicted": classes[row["predicted"]],
            "probability": row["probability"],
        }
        for row in seen.mistakes(MISTAKES)
    ]


def _other(data: Any, model: training.Trained, flip: bool) -> dict[str, Any]:
    """Evaluate on images that are not the run's own; its test set stays in the vault."""
    test = images.every(data, model.classes, model.channels, model.size)
    return numbers(training.evaluate(model, test, flip=flip)) | {"data": str(data)}


def sentence(found: dict[str, Any]) -> str:
    """The numbers of a look as one line for a person."""
    low, high = found["test_interval"]
    return (
        f"test error {found['test_error']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{found['test_n']} images, look {found.get('looks', '-')})"
    )
