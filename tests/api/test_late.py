"""The errors are read again after midway: what they say first then is treated from a snapshot, once, in the budget."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from visus import api, ledger
from visus.api import procedure_reading as reading
from visus.api.procedure_treat import BUDGET

SETS = ["model=cnn", "model.width=8", "model.stages=2", "training.threads=1", "training.precision=float32",
        "training.epochs=12", "data.validation=0.25", "training.checkpoint_every=none", "jitter=none",
        "optimizer.rate=0.02"]  # fmt: skip
FROM = 7  # the epoch from which the errors speak of overfitting


@pytest.fixture
def turning(monkeypatch):
    """A run whose validation turns after its midway; the table itself is tested elsewhere."""

    def read(epochs, baseline):
        if epochs and epochs[-1]["epoch"] >= FROM:
            return "validation errs far more than training", {"overfitting": 0.7}, {}
        return "training and validation errors agree with a healthy training", {}, {}

    monkeypatch.setattr(reading, "read_errors", read)


def train(folder, **how):
    return api.train("digits", out=folder, set=SETS, **how)


def kinds(run, kind):
    return ledger.select(ledger.read(run.folder), kind)


def test_what_shows_after_midway_is_tried_once(turning, tmp_path):
    run = train(tmp_path / "r")
    names = [x["name"] for x in kinds(run, "stage")]
    assert names.count("midway") == 1 and names.count("late") == 1
    trials = [x for x in kinds(run, "trial") if x["edits"]]
    steps, first = kinds(run, "plan")[-1]["steps"], trials[0]
    assert {x["at"] for x in trials} == {FROM * steps // 12} and all(x["live"] for x in trials)
    assert "overfitting" in first["findings"]
    assert first["round_steps"] <= BUDGET * steps


def test_a_run_left_there_decides_the_same(turning, tmp_path, monkeypatch):
    whole = train(tmp_path / "whole")
    told = reading.Record.stage

    def leave(self, name, *rest):
        if name == "late":
            raise KeyboardInterrupt
        told(self, name, *rest)

    monkeypatch.setattr(reading.Record, "stage", leave)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut")
    monkeypatch.setattr(reading.Record, "stage", told)
    run = api.train("digits", resume=tmp_path / "cut")
    assert len(kinds(run, "trial")) == len(kinds(whole, "trial"))
    one, two = (load_file(r.folder / "model.safetensors") for r in (whole, run))
    assert all(one[k].equal(two[k]) for k in one)


def test_without_anything_new_it_is_read_once(tmp_path):
    run = train(tmp_path / "r")
    assert "late" not in [x["name"] for x in kinds(run, "stage")]
