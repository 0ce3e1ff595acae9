"""Faults as homework has them, which no rule knew when they were first seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import visus

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import F, digits, fit, mlp  # pyright: ignore[reportMissingImports]


def named(loss) -> list[str]:
    """The findings (warning or error) on an MLP that learns digits with this loss."""
    with visus.Doctor() as doctor:
        x, y, *_ = digits()
        fit(mlp(64, 64, 10), x, y, loss=loss)
    return [f["id"] for f in doctor.findings if f["severity"] != "info"]


def likelihood(out, y, sign):
    return sign * out.log_softmax(1)[torch.arange(len(y)), y].mean()


def square(out, y, sign):
    goal = F.one_hot(y, 10).float()
    return sign * ((out - goal) ** 2).mean()


@pytest.mark.parametrize(("loss", "right"), [(likelihood, -1), (square, 1)])
def test_a_loss_written_out_with_the_wrong_sign(loss, right):
    assert named(lambda out, y: loss(out, y, -right))[:1] == ["loss-mismatch"]
    assert "loss-mismatch" not in named(lambda out, y: loss(out, y, right))
    # A weight on each sample, as a policy's reward is, has any sign it likes.
    assert "loss-mismatch" not in named(lambda out, y: -0.4 * loss(out, y, right))
