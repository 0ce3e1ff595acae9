"""Recalibrated statistics: the last remedy, of a finished model, which needs no fork.

A running average mixes the moments of older weights, of jittered images and of small batches.
Here the norms of the best model take the exact moments of training images as they are, and where
that proves better on validation, image by image, the model keeps them.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from visus import training
from visus.doctor.remedies import Treatment
from visus.doctor.trials import LEAST, Answers, Arm, Trial, paired
from visus.layers.recalibrate import recalibrate
from visus.training.patient import judges
from visus.training.selection import evenly

IMAGES, BATCH = 500, 250  # of train, in an even stride
FEW = 100  # images below which nothing is proved
FIRST = 200  # validation images after which there is no further look without any gain so far
REMEDY = Treatment(
    (), "running averages mix older weights, jitter and small batches", 0.0, "recalibrated-statistics",
    "Exact statistics of the training images for the norms", fresh=False, findings=("norm-train-test-gap",),
)  # fmt: skip


def concerned(model: nn.Module) -> bool:
    """Whether any norm of the model keeps running averages."""
    return any(getattr(m, "running_mean", None) is not None for m in model.modules())


def images(dataset: Any) -> int:
    """How many images the trial looks at: some of train, those of validation with either model."""
    return IMAGES + 2 * len(judges(dataset, 0))


def affordable(session: training.Session) -> int:
    """How many images of train and of validation the time limit leaves for the trial."""
    budget = session.budget
    if budget.limit is None:
        return IMAGES
    over = budget.clock() + budget.judge.each * (budget.vault + 3 * FEW) > budget.limit
    return 0 if over else budget.closing() // 3


def tried(session: training.Session, count: int = IMAGES) -> tuple[Trial, training.Trained]:
    """The trial, and the model with its exact statistics of `count` images."""
    plain = session.best()
    exact = copy.deepcopy(plain)
    recalibrate(exact, _batches(session, count))
    chosen = judges(session.dataset, session.recipe.seed)
    chosen = chosen if count >= IMAGES else chosen[:count]
    for part in (chosen[:FIRST], chosen):
        control, treated = arms = [_arm(session, model, part) for model in (plain, exact)]
        rows = [[arm.answers[0].errors] for arm in arms if arm.answers[0]]
        gap = paired(rows[0], rows[1], spread=0.0)  # the same weights: chance has no part in it
        if gap.mean <= 0 or len(part) == len(chosen):
            break
    kept = gap.better and gap.mean > LEAST
    reason = "better than the running averages" if kept else "no better than the running averages"
    return Trial(REMEDY, control, treated, gap, kept, f"{reason} beyond noise", session.step), exact


def _arm(session: training.Session, model: nn.Module, chosen: torch.Tensor) -> Arm:
    seen = training.evaluate(model, session.dataset.validation, indices=chosen)
    answers = Answers(seen.errors.double().tolist(), seen.losses.double().tolist())
    return Arm((), xs=[session.step], ys=[answers.error], answers={0: answers})


def _batches(session: training.Session, count: int) -> Any:
    images = session.dataset.train
    for part in evenly(len(images), min(IMAGES, count)).split(BATCH):
        if len(part) > 1:
            yield images.batch(part).to(session.device).float() / 255


def said(trial: Trial) -> str:
    """What was decided, in a line."""
    gap = trial.difference
    assert gap is not None
    if trial.kept:
        return f"kept exact statistics of the training images: {gap.said}"
    return f"running averages are as good as exact statistics: {trial.control.error:.1%} and {trial.treated.error:.1%} on validation"
