"""Callbacks: each in its own framework where that is installed, the shared parts always.

A framework runs in a process of its own: it is slow to import, and torchvision needs two
operators declared before its first import where its build does not fit torch's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import batches, digits, mlp

from visus.doctor import Doctor, callbacks
from visus.doctor.callbacks.visit import Twin, Visit
from visus.errors import UsageError

HERE = Path(__file__).parent
FRAMEWORKS = {
    "lightning": "lightning",
    "transformers": "transformers",
    "keras": "keras",
    "fastai": "fastai",
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_under_the_doctor(name):
    if importlib.util.find_spec(FRAMEWORKS[name]) is None:
        pytest.skip(f"{name} is not installed (see shared/peers.md)")
    found = {}
    for state in ("sick", "healthy"):
        done = subprocess.run(
            [sys.executable, str(HERE / "framework.py"), name, state],
            env={**os.environ, "KERAS_BACKEND": "torch"}, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        found[state] = json.loads(done.stdout.splitlines()[-1])
        assert "Watched" in done.stderr
    assert found["sick"]["ids"][:1] == ["loss-mismatch"]
    assert found["healthy"]["ids"] == []
    assert all(one["steps"] == 188 and one["errors"] == [] for one in found.values())


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_missing_framework_names_the_way_out(name, monkeypatch):
    module = f"visus.doctor.callbacks.{name}"
    for known in [key for key in sys.modules if key.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(UsageError, match="install it with: pip install"):
        importlib.import_module(module)


def test_unknown_callbacks_are_refused():
    with pytest.raises(AttributeError, match="NoDoctor"):
        callbacks.NoDoctor  # noqa: B018


def by_hand(visit, softmax=False, momentum=0.0):
    """A loop whose optimizer is no torch optimizer; returns the weights."""
    torch.manual_seed(0)
    x, y, *_ = digits()
    model = mlp(64, 32, 10)
    twin = None
    if visit is not None:
        visit.open(model)
        twin = Twin(visit.doctor, "SGD")
    for rows in batches(len(x), 32, 60):
        output = model(x[rows])
        loss = nn.functional.cross_entropy(output.softmax(1) if softmax else output, y[rows])
        model.zero_grad()
        loss.backward()
        if twin is not None:
            twin.before([{"params": list(model.parameters()), "lr": 0.1}])
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        if twin is not None:
            twin.after()
    if visit is not None:
        visit.close()
    return [p.detach().clone() for p in model.parameters()]


def test_a_twin_shows_a_foreign_optimizer_and_changes_nothing():
    said = []
    sick, well = Visit(said.append), Visit(None)
    by_hand(sick, softmax=True)
    watched = by_hand(well)
    assert all(map(torch.equal, watched, by_hand(None)))
    assert [found["id"] for found in sick.findings][:1] == ["loss-mismatch"] and len(said) == 1
    assert well.findings == [] and well.seen.steps == 60 and well.seen.errors == []
    updates = well.seen.host.signals.values("optimizer", "update")
    assert updates and all(value > 0 for value in updates)


def test_a_visit_left_open_is_closed_by_the_next():
    visit = Visit(None)
    visit.open(nn.Linear(2, 2))
    first = visit.doctor
    visit.open(nn.Linear(2, 2))
    assert visit.doctor is not first
    visit.close(ValueError("in training"))
    visit.close()
    assert visit.doctor is None and "no training" in visit.letter()


def closure_loop(make, doctor=None):
    torch.manual_seed(0)
    x, y, *_ = digits()
    model = mlp(64, 16, 10)
    optimizer = make(model.parameters())
    with doctor or Doctor(rules=[]):
        for rows in batches(len(x), 50, 24):

            def closure(rows=rows):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                return loss

            optimizer.step(closure)
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, 0.1), lambda p: torch.optim.LBFGS(p, 0.5, max_iter=4)]
)
def test_a_closure_is_looked_at_when_its_gradients_stand(make):
    doctor = Doctor()
    watched = closure_loop(make, doctor)
    assert all(map(torch.equal, watched, closure_loop(make)))
    assert doctor.errors == []
    tested = doctor.host.signals.series("step", "before")
    gradient = doctor.host.signals.series("optimizer", "gradient")
    assert gradient[0] == (0, pytest.approx(gradient[0][1])) and gradient[0][1] > 0
    assert len(tested) > 2
