"""Looks at the test images: each is counted in the ledger, with its reason and an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from visus import data as images
from visus import report, runs, training
from visus.ledger import Ledger

MISTAKES = 24  # worst mistakes shown in the report


def evaluate(
    run: str | Path, data: Any = None, *, reason: str = "visus.evaluate", flip: bool = False
) -> dict[str, Any]:  # fmt: skip
    """Look at the test images of a run, or at all images of `data`, and return the numbers.

    Returns n, error (share of 1), interval (Wilson, 95 %), loss, and `look`, the number of this
    look at the run's own test set. The ledger and the report are brought up to date. `flip`
    averages the probabilities of each image and of its mirror image.
    """
    folder, ledger = Path(run), Ledger(run)
    request = runs.read_request(folder)
    trained = training.load_trained(folder)
    if data is not None:
        return _other(data, trained, flip)
    recipe = trained.recipe
    dataset = images.prepare(
        request["data"], seed=recipe.seed, folder=folder, **recipe.data.options()
    )
    found = look(folder, dataset, ledger, reason=reason, flip=flip)
    report.write(folder)
    return found | {"run": str(folder)}


def look(
    folder: Path, dataset: images.Dataset, ledger: Ledger, *, reason: str, flip: bool = False
) -> dict[str, Any]:  # fmt: skip
    """One counted look: open the vault, evaluate the run's model, write what was seen."""
    trained = training.load_trained(folder)
    test = dataset.vault.look(reason, ledger)
    seen = training.evaluate(trained, test, flip=flip)
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
    ledger.write("confusion", split="test", classes=trained.classes, matrix=seen.confusion())
    ledger.write("per-class", split="test", rows=seen.per_class(trained.classes))
    ledger.write("mistakes", split="test", items=_mistakes(seen, test, trained.classes))
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


def _other(data: Any, trained: training.Trained, flip: bool) -> dict[str, Any]:
    """Evaluate on images that are not the run's own; its test set stays in the vault."""
    test = images.every(data, trained.classes, trained.channels, trained.size)
    return numbers(training.evaluate(trained, test, flip=flip)) | {"data": str(data)}


def sentence(found: dict[str, Any]) -> str:
    """The numbers of a look as one line for a person."""
    low, high = found["test_interval"]
    return (
        f"test error {found['test_error']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{found['test_n']} images, look {found.get('looks', '-')})"
    )
