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

IMAGES, BATCH = 2000, 250  # of train, in an even stride
REMEDY = Treatment(
    (), "running averages mix older weights, jitter and small batches", 0.0, "recalibrated-statistics",
    "Exact statistics of the training images for the norms", fresh=False, findings=("norm-train-test-gap",),
)  # fmt: skip


def concerned(model: nn.Module) -> bool:
    """Whether any norm of the model keeps running averages."""
    return any(getattr(m, "running_mean", None) is not None for m in model.modules())


def tried(session: training.Session) -> tuple[Trial, training.Trained]:
    """The trial, and the model with its exact statistics."""
    plain = session.best()
    exact = copy.deepcopy(plain)
    recalibrate(exact, _batches(session))
    chosen = judges(session.dataset, session.recipe.seed)
    arms = [_arm(session, model, chosen) for model in (plain, exact)]
    control, treated = arms
    rows = [[arm.answers[0].errors] for arm in arms if arm.answers[0]]
    gap = paired(rows[0], rows[1], spread=0.0)  # the same weights: chance has no part in it
    kept = gap.better and gap.mean > LEAST
    reason = "better than the running averages" if kept else "no better than the running averages"
    return Trial(REMEDY, control, treated, gap, kept, f"{reason} beyond noise", session.step), exact


def _arm(session: training.Session, model: nn.Module, chosen: torch.Tensor) -> Arm:
    seen = training.evaluate(model, session.dataset.validation, indices=chosen)
    answers = Answers(seen.errors.double().tolist(), seen.losses.double().tolist())
    return Arm((), xs=[session.step], ys=[answers.error], answers={0: answers})


def _batches(session: training.Session) -> Any:
    images = session.dataset.train
    rows = torch.arange(len(images))[:: max(1, len(images) // IMAGES)]
    for part in rows.split(BATCH):
        if len(part) > 1:
            yield images.batch(part).to(session.device).float() / 255


def said(trial: Trial) -> str:
    """What was decided, in a line."""
    gap = trial.difference
    assert gap is not None
    if trial.kept:
        return f"kept exact statistics of the training images: {gap.said}"
    return f"running averages are as good as exact statistics: {trial.control.error:.1%} and {trial.treated.error:.1%} on validation"
