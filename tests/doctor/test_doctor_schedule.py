"""Looks and experiments are bought with counted work: no stopwatch decides about a finding."""

from __future__ import annotations

import inspect
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as modules

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, fit, mlp, validate

from visus.doctor import Doctor
from visus.doctor.schedule import APART, PURSES, Schedule

TIMED = {("loader", "wait"), ("loader", "share")}  # what the clock says, and is asked for it


def sick(steps=150):
    x, y, xv, yv = digits()
    model = mlp(64, 64, 10)
    slow = torch.optim.SGD(model.parameters(), lr=3e-4)
    look = lambda k: validate(model, xv, yv) if k % 50 == 49 else None  # noqa: E731
    fit(model, x, y, optimizer=slow, steps=steps, each=look)


def watched():
    torch.manual_seed(0)
    with Doctor() as doctor:
        sick()
    s = doctor.host.signals
    return doctor.findings, {key: s.series(*key) for key in s.quantities() if key not in TIMED}


def test_a_machine_ten_times_slower_gives_the_same_signals_and_findings(monkeypatch):
    findings, signals = watched()
    real = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 10 * real())
    slow_findings, slow_signals = watched()
    assert findings[0]["id"] == "learning-rate-too-small"
    assert slow_findings == findings
    assert slow_signals.keys() == signals.keys()
    assert all(str(slow_signals[key]) == str(signals[key]) for key in signals)


def test_a_stutter_of_the_clock_gives_the_same_findings(monkeypatch):
    findings, _ = watched()
    real, jumps = time.perf_counter, iter(range(10**9))
    monkeypatch.setattr(time, "perf_counter", lambda: real() + 3.0 * (next(jumps) // 50))
    assert watched()[0] == findings


def test_modules_carry_no_hook_on_steps_that_are_not_looked_at():
    x, y, xv, yv = digits()
    model = mlp(64, 64, 10)
    hooked, evaluated = [], []

    def look(step):
        hooked.append(bool(modules._global_forward_hooks))
        if step % 40 == 39:
            model.eval()
            evaluated.append(bool(modules._global_forward_hooks))
            validate(model, xv, yv)

    with Doctor() as doctor:
        fit(model, x, y, steps=200, each=look)
    assert sum(hooked) < 50 and all(evaluated)
    assert doctor.host.signals.last("validation", "error") < 0.2
    assert len(doctor.host.signals.values("loss", "value")) == 200


def test_a_backbone_without_gradients_inside_the_network_is_no_network_of_its_own():
    x, y, *_ = digits()

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(64, 32), nn.Linear(32, 10)

        def forward(self, x):
            with torch.no_grad():
                features = F.relu(self.body(x))
            return self.head(features)

    model = Frozen()
    with Doctor() as doctor:
        fit(model, x, y, optimizer=torch.optim.Adam(model.head.parameters(), lr=1e-2), steps=60)
    assert doctor.host.names.roots == [model] and doctor.errors == []


def test_no_purse_spends_more_than_its_share():
    schedule = Schedule(0.02)
    schedule.open()
    weight, given = torch.zeros(64, 32, 3, 3), torch.zeros(8, 64, 32, 32)
    schedule.call("conv2d", (None, weight), {}, given)
    schedule.close(2)
    for step in range(1, 2000):
        schedule.step(step)
        while schedule.affords("steps", schedule.price(1.0)):
            pass
    for purse, (share, credit) in PURSES.items():
        assert schedule.spent[purse] <= credit + (share + 0.2) * 0.02 * schedule.earned
    assert schedule.price(1.0, grad=True) > schedule.price(1.0) > schedule.price(0.25) > 0


def test_all_purses_and_what_is_done_in_any_case_share_one_account():
    schedule = Schedule(0.02)
    schedule.open()
    schedule.call("conv2d", (None, torch.zeros(64, 32, 3, 3)), {}, torch.zeros(8, 64, 32, 32))
    schedule.close(2)
    shared = PURSES.keys() - APART
    credits = sum(PURSES[purse][1] for purse in shared)
    for step in range(1, 5000):
        schedule.step(step)
        schedule.view(step - step % 50)
        for purse in shared:
            while schedule.affords(purse, 1e-3):
                pass
    total = schedule.forced + sum(schedule.spent.values())
    assert schedule.earned > 60 and total <= max(0.02 * schedule.earned, credits) + 0.1


def test_a_short_program_has_credit_and_what_is_paid_afterwards_counts():
    schedule = Schedule(0.02)
    assert schedule.left("trials") == PURSES["trials"][1] and schedule.left("looks") <= 0
    schedule.pay("trials", 0.25)
    assert schedule.left("trials") == pytest.approx(PURSES["trials"][1] - 0.25)
    assert not schedule.affords("trials", 0.1)


def test_experiments_keep_to_their_purse():
    torch.manual_seed(0)
    with Doctor() as doctor:
        sick()
    schedule, (share, credit) = doctor.host.schedule, PURSES["trials"]
    most = max(credit, share * 0.02 * schedule.earned)
    assert (
        doctor.host.signals.values("trial", "start") and 0 < schedule.spent["trials"] < 1.2 * most
    )


def rates_tried(doctor):
    return {name for place, name in doctor.host.signals.quantities() if place == "trial"}


def test_what_the_rates_have_settled_is_not_asked_again():
    torch.manual_seed(0)
    with Doctor() as doctor:
        sick()
    assert doctor.findings[0]["id"] == "learning-rate-too-small"
    tried = rates_tried(doctor)
    assert {"rate x1", "rate x10"} < tried and len(tried) <= 6
    assert not {"rate x0.1", "batch_last", "held_error", "rival_error"} & tried


def test_weights_that_went_nowhere_need_no_experiment():
    torch.manual_seed(0)
    x, y, *_ = digits()
    with Doctor() as doctor:
        model = mlp(64, 64, 10)
        fit(model, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=1e-6), steps=100)
    assert doctor.findings[0]["id"] == "learning-rate-too-small"
    evidence = doctor.findings[0]["evidence"]
    assert evidence["travel"] < 1e-3 and evidence["loss_last"] > 0.9 * evidence["chance"]
    assert not rates_tried(doctor)


def test_no_experiment_where_its_answer_could_only_be_a_consequence():
    torch.manual_seed(0)
    x, y, *_ = digits()
    with Doctor() as doctor:
        model = mlp(64, 64, 10)
        fit(model, 300 * x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), steps=100)
    assert doctor.findings[0]["id"] == "input-not-normalized"
    assert doctor.findings[0]["severity"] == "error" and not rates_tried(doctor)


def test_the_rules_that_read_experiments_are_those_that_active_lists():
    from visus.doctor.probes.called import READERS
    from visus.doctor.rules import rules

    asking = {
        name
        for name in rules
        if '"trial"' in inspect.getsource(sys.modules[rules[name].__module__])
    }
    assert asking == set(READERS)


def test_how_a_loader_makes_its_batches_is_not_recorded():
    x, y, *_ = digits()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 32)
    model, seen = mlp(64, 64, 10), []
    with Doctor() as doctor, torch.no_grad():
        doctor.host.recorder._note = lambda name, *call: seen.append(name)
        for inputs, targets in loader:
            F.cross_entropy(model(inputs), targets)
    assert "cross_entropy" in seen and not {"getitem", "stack"} & set(seen)


def by_hand(rate, steps=150, zero=True):
    """Plain gradient descent without an optimizer."""
    x, y, *_ = digits()
    model = mlp(64, 64, 10)
    for rows in batches(len(x), 32, steps):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        if zero:
            model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate * p.grad
    return model


@pytest.mark.parametrize("rate, zero, first", [
    (0.2, True, None), (30.0, True, "learning-rate-too-large"), (0.05, False, "gradient-not-zeroed"),
])  # fmt: skip
def test_programs_without_an_optimizer_are_followed(rate, zero, first):
    alone = by_hand(rate, zero=zero)
    with Doctor() as doctor:
        model = by_hand(rate, zero=zero)
    grave = [f["id"] for f in doctor.findings if f["severity"] != "info"]
    assert grave[:1] == ([first] if first else []) and doctor.errors == []
    assert doctor.steps == 149  # the last update is followed by no pass that would show it
    assert doctor.host.signals.last("optimizer", "rate") == pytest.approx(rate, rel=1e-3)
    for a, b in zip(alone.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b) or not bool(a.isfinite().all())
