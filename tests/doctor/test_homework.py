"""Faults as homework has them, which no rule knew when they were first seen."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import visus

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import F, batches, digits, fit, mlp  # pyright: ignore[reportMissingImports]


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


def watched(program) -> list[str]:
    with visus.Doctor() as doctor:
        program()
    assert doctor.errors == []
    return [f["id"] for f in doctor.findings if f["severity"] != "info"]


def test_a_teacher_in_train_mode_is_no_evaluation_and_its_answers_are_no_labels():
    def program():
        x, y, *_ = digits()
        student = mlp(64, 96, 10, norm=nn.BatchNorm1d)
        teacher = copy.deepcopy(student).requires_grad_(False)
        optimizer = torch.optim.AdamW(student.parameters(), 3e-3)
        for rows in batches(len(x), 64, 150):
            out = student(x[rows])
            with torch.no_grad():
                goal = teacher(x[rows] + 0.1 * torch.randn(64, 64)).softmax(1)
            loss = F.cross_entropy(out, y[rows]) + F.mse_loss(out.softmax(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                    old.lerp_(new, 0.03)

    assert watched(program) == []


def test_rows_that_belong_to_columns_are_no_classes():
    def program():
        x, *_ = digits()
        net = mlp(64, 128, 32)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for rows in batches(len(x), 50, 200):
            first, second = (
                F.normalize(net(x[rows] * (torch.rand(50, 64) > 0.2)), dim=1) for _ in range(2)
            )
            loss = F.cross_entropy(first @ second.T / 0.2, torch.arange(50))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    assert watched(program) == []


@pytest.mark.parametrize("zero", [True, False])
def test_zeros_before_a_relu_leave_units_dead_for_good(zero):
    def program():
        x, y, *_ = digits()
        net = mlp(64, 64, 10)
        if zero:
            for layer in (net[0], net[2]):
                nn.init.zeros_(layer.weight)
        fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 1e-3))

    assert watched(program) == (["init-symmetric"] if zero else [])


def test_weights_flung_away_by_the_first_hundred_steps():
    def program(rate):
        x, y, *_ = digits()
        torch.manual_seed(11)
        pool = nn.AvgPool2d(2)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
            pool, nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10),
        )  # fmt: skip
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
        fit(net, x.view(-1, 1, 8, 8), y, optimizer=optimizer, steps=250)

    assert watched(lambda: program(1.0))[:1] == ["learning-rate-too-large"]
    assert watched(lambda: program(0.03)) == []
