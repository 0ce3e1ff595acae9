"""Schedules against closed forms and torch's own schedulers."""

from __future__ import annotations

import math

import pytest
import torch

from visus.training.plan import Plan, fit, refit
from visus.training.schedules import schedules

TOTAL = 200


def torch_rates(make, steps: int = TOTAL) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_one_cycle_is_torchs_but_for_its_last_step():
    # torch spreads its phases over total - 1 steps; the share done is ours over total.
    start, end, up = 0.04, 1e-4, 0.3
    theirs = torch_rates(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, max_lr=1.0, total_steps=TOTAL, pct_start=up, div_factor=1 / start,
            final_div_factor=start / end, cycle_momentum=False,
        )
    )  # fmt: skip
    peak = up * TOTAL - 1
    for step in range(TOTAL):
        done = (
            step / peak * up if step <= peak else up + (step - peak) / (TOTAL - 1 - peak) * (1 - up)
        )
        assert math.isclose(schedules["one-cycle"](done), theirs[step], rel_tol=1e-9, abs_tol=1e-9)


def test_cosine_is_torchs():
    theirs = torch_rates(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.1)
    )
    ours = [schedules["cosine"](s / TOTAL, warmup=0.0, end=0.1) for s in range(TOTAL)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_step_is_torchs_multistep():
    theirs = torch_rates(
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones=[100, 150], gamma=0.1)
    )
    ours = [schedules["step"](s / TOTAL) for s in range(TOTAL)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_constant_and_warmup():
    assert {schedules["constant"](s / 10) for s in range(11)} == {1.0}
    assert schedules["constant"](0.05, warmup=0.1) == pytest.approx(0.505)


def test_a_plan_that_is_cut_keeps_the_rate_and_still_ends():
    plan = Plan(steps=100, per_epoch=10)
    cut = plan.to(70, 40)
    assert cut.done(40) == pytest.approx(plan.done(40))
    assert cut.done(70) == 1.0
    values = [cut.done(s) for s in range(40, 71)]
    assert values == sorted(values)
    again = cut.to(60, 50)
    assert again.done(50) == pytest.approx(cut.done(50)) and again.done(60) == 1.0


def test_plan_counts_epochs():
    plan = Plan(steps=25, per_epoch=10)
    assert plan.epochs == 3
    assert [plan.epoch(s) for s in (1, 10, 11, 20, 21, 25)] == [1, 1, 2, 2, 3, 3]
    assert [s for s in range(1, 26) if plan.ends_epoch(s)] == [10, 20, 25]


def test_what_fits_into_the_time():
    assert fit(100, None, seconds=56, step=0.1, judge=1.0) == 500
    assert fit(100, None, seconds=54, step=0.1, judge=1.0) == 500, (
        "the last evaluation is the ending's"
    )
    assert fit(100, 3, seconds=56, step=0.1, judge=1.0) == 300
    assert fit(100, None, seconds=5, step=0.1, judge=1.0) == 50  # half an epoch
    assert fit(100, None, seconds=0, step=0.1, judge=1.0) == 1


def test_replanning_fits_the_time_and_grows_to_its_most_alone():
    plan = Plan(1000, 100)
    assert refit(plan, 100, seconds=1000, step=0.1, judge=1.0) is plan
    shorter = refit(plan, 100, seconds=56, step=0.1, judge=1.0)
    assert 580 <= shorter.steps <= 620 and shorter.done(100) == pytest.approx(0.1)
    assert refit(plan, 995, seconds=-5, step=0.1, judge=1.0) is plan, "the end is near anyway"
    assert refit(plan, 500, seconds=-5, step=0.1, judge=1.0).steps == 500
    longer = refit(Plan(1000, 100, 1500), 100, seconds=1000, step=0.1, judge=1.0)
    assert longer.steps == 1500 and longer.done(100) == pytest.approx(0.1)
    assert longer.done(1500) == 1.0
