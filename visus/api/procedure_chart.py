"""What is known of a training, as the doctor's remedies read it: recipe, what is usual, facts."""

from __future__ import annotations

from typing import Any

import torch

from visus.doctor.remedies import Chart
from visus.models import choose
from visus.training import Recipe, Session
from visus.training.automatic import batch_size, usual_jitter, usual_rate
from visus.training.members import family
from visus.training.optimizers import optimizers
from visus.training.selection import by_class
from visus.training.tasks import make_task


def chart(
    session: Session, asked: Recipe, findings: dict[str, float], facts: dict[str, Any]
) -> Chart:
    """The chart of a session: its settled recipe, the book's values for its data, its findings."""
    recipe, dataset = session.recipe, session.dataset
    known = {
        "steps": session.plan.steps,
        "train": len(dataset.train),
        "classes": len(dataset.classes),
        "imbalance": imbalance(dataset),
    }
    book = usual(recipe, dataset)
    if asked.optimizer.rate == "auto":
        del book["rate_there"]  # another batch size brings a rate of its own
    return Chart(recipe.tree(), book, findings, known | facts)


def usual(recipe: Recipe, dataset: Any) -> dict[str, Any]:
    """What the book takes for data like these, by key."""
    name = choose(tuple(dataset.size), make_task(recipe.task.name, dataset).per_pixel)
    images = batch_size(len(dataset.train))
    there = recipe.edited([f"training.batch_size={images}"])
    rate, other = usual_rate(recipe), usual_rate(there)
    own = float(recipe.optimizer.rate) if recipe.optimizer.rate != "auto" else rate
    options = (
        family("model").options(recipe.model.name) if recipe.model.name in family("model") else {}
    )
    width = options["width"].default if "width" in options else None
    return {
        "optimizer.rate": rate,
        "rate_there": own * other / rate if 0.2 < own / rate < 5 else other,
        "training.batch_size": images,
        "model.name": name,
        "model.width": width,
        "regularization.l2": optimizers[recipe.optimizer.name].l2,  # type: ignore[attr-defined]
        "jitter": usual_jitter(recipe.task.name, dataset),
    }


def imbalance(dataset: Any) -> float:
    """Images of the largest class for each image of the smallest, in train."""
    if not by_class(dataset.train):
        return 1.0
    counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes))
    return float(counts.max()) / max(1.0, float(counts.min()))
