"""The procedure: a broken recipe is treated, a healthy one is left alone, a killed run decides nothing twice."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from visus import api, ledger

SETS = ["model=cnn", "model.width=8", "model.stages=2", "training.threads=1", "training.precision=float32",
        "training.epochs=6", "data.validation=0.25", "training.checkpoint_every=none"]  # fmt: skip
SICK = ["optimizer.rate=20.0"]


def train(folder, *sets, **how):
    return api.train("digits", out=folder, set=[*SETS, *sets], **how)


def kinds(run, kind):
    return ledger.select(ledger.read(run.folder), kind)


def stage(run, name):
    return [line for line in kinds(run, "stage") if line["name"] == name]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return train(tmp_path_factory.mktemp("cure") / "healthy")


@pytest.fixture(scope="module")
def cured(tmp_path_factory):
    return train(tmp_path_factory.mktemp("cure") / "cured", *SICK)


def test_a_healthy_recipe_is_left_alone(healthy, tmp_path):
    plain = train(tmp_path / "plain", cure=False)
    assert not kinds(healthy, "trial")
    one, other = (load_file(run.folder / "model.safetensors") for run in (healthy, plain))
    assert all(one[k].equal(other[k]) for k in one)
    assert [line["name"] for line in kinds(healthy, "stage")] == [
        "split", "data audit", "baseline", "first weights", "one batch", "first steps", "midway", "statistics", "errors", "test",
    ]  # fmt: skip


def test_a_rate_far_too_large_is_cured_and_the_proof_is_on_record(healthy, cured):
    (kept,) = [line for line in kinds(cured, "trial") if line["kept"]]
    assert any(edit.startswith("optimizer.rate=") for edit in kept["edits"])
    assert kept["interval"][0] > 0 and kept["control"]["y"][-1] > kept["treatment"]["y"][-1]
    assert cured.metrics["validation_error"] < healthy.metrics["validation_error"] + 0.03
    assert cured.result()["trials"][0]["remedy"]
    held = api.Run(cured.folder).model.recipe  # type: ignore[attr-defined]
    assert held.optimizer.rate < 1
    page = (cured.folder / "report.html").read_text()
    assert (
        "Treatment" in page
        and "Procedure" in page
        and "broken" not in page.split("</style>")[1][:200]
    )


def test_the_treatment_keeps_to_its_budget(cured):
    spent = sum(line["evidence"].get("steps_spent", 0) for line in kinds(cured, "stage"))
    steps = ledger.last(cured.lines, "plan")["steps"]
    assert spent <= 0.35 * steps


def test_without_the_cure_it_is_only_reported(tmp_path):
    run = train(tmp_path / "r", *SICK, cure=False)
    assert (
        not kinds(run, "trial")
        and stage(run, "first steps")[0]["decided"] == "treatment is switched off"
    )
    assert run.metrics["validation_error"] > 0.2
    assert json.loads((run.folder / "request.json").read_text())["cure"] == "off"


def test_a_person_may_decline_what_a_trial_proved(tmp_path):
    asked = []
    run = train(tmp_path / "r", *SICK, cure=lambda line: bool(asked.append(line)))
    assert asked and asked[0]["effect"] > 0
    assert not any(line["kept"] for line in kinds(run, "trial"))
    assert any("declined" in line["reason"] for line in kinds(run, "trial"))


def test_ctrl_c_at_the_question_stops_the_run_and_it_is_asked_again(tmp_path):
    def leave(line):
        signal.raise_signal(signal.SIGINT)
        return False

    run = train(tmp_path / "r", *SICK, cure=leave)
    assert run.result()["status"] == "stopped" and not kinds(run, "trial")
    asked = []
    run = api.train(resume=run.folder, cure=lambda line: not asked.append(line))
    assert asked and [line["kept"] for line in kinds(run, "trial")].count(True) == 1


@pytest.mark.parametrize("typed", ["", "y", "n", "end", "ctrl-c"])
def test_the_question_in_the_terminal(monkeypatch, typed):
    """What is typed counts; Ctrl-C reaches the run that was asked about, once it is over."""
    command = importlib.import_module("visus.cli.train")
    heard, closed = [], []

    def line(*_, **__):
        if typed == "end":
            raise EOFError
        if typed == "ctrl-c":
            signal.raise_signal(signal.SIGINT)
        return typed

    monkeypatch.setitem(command.typer.confirm.__globals__, "visible_prompt_func", line)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    proved = {"interval": [0.1, 0.3], "title": "t", "edits": ["a=1"], "why": "w", "effect": 0.2}
    view = SimpleNamespace(close=lambda: closed.append(1))
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        assert command._asked([view], proved) is (typed in ("", "y"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert closed == [1] and heard == [1] * (typed == "ctrl-c")


def test_the_same_recipe_and_seed_are_treated_alike(cured, tmp_path):
    again = train(tmp_path / "again", *SICK)
    one, other = (load_file(run.folder / "model.safetensors") for run in (cured, again))
    assert all(one[k].equal(other[k]) for k in one)
    edits = [[line["edits"] for line in kinds(run, "trial")] for run in (cured, again)]
    assert edits[0] == edits[1]


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "visus.cli", "train", "digits", "--out", str(folder)]
    for edit in (*SETS, *SICK):
        command += ["--set", edit]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed_at(folder: Path, seen) -> None:
    """Run until `seen(lines)` is true of the ledger, then kill without mercy."""
    child = start(folder)
    for _ in range(3000):
        if (folder / ledger.NAME).exists() and seen(ledger.read(folder)):
            break
        time.sleep(0.02)
        assert child.poll() is None, "it ended before it was killed"
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.mark.parametrize("moment", ["first weights", "trial", "restart", "epoch"])
def test_a_killed_run_decides_nothing_twice(cured, tmp_path, moment):
    """Killed before, in the middle of, and after its treatment, it ends with the same weights."""
    folder = tmp_path / "cut"

    def seen(lines):
        if moment == "restart":
            return any(line.get("restart") for line in lines)
        if moment == "epoch":
            return len(ledger.select(lines, "epoch")) >= 2
        return any(line["kind"] == moment or line.get("name") == moment for line in lines)

    killed_at(folder, seen)
    run = api.train("digits", resume=folder)
    one, other = (load_file(r.folder / "model.safetensors") for r in (cured, run))
    assert all(one[k].equal(other[k]) for k in one)
    assert run.metrics["validation_error"] == cured.metrics["validation_error"]


def test_a_loss_that_breaks_on_the_way_is_treated(tmp_path):
    """A rate that grows until the loss is not finite, long after the first steps were watched."""
    sets = [
        "optimizer.rate=3e4",
        "schedule={name='one-cycle', warmup=0.9, start=1e-7}",
        "model.norm=none",
    ]
    run = train(tmp_path / "r", *sets)
    assert run.metrics["validation_error"] < 0.5
    assert any(line["kept"] for line in kinds(run, "trial"))


def test_too_short_a_run_is_not_examined(tmp_path):
    run = train(tmp_path / "r", "training.epochs=1", *SICK)
    assert "too short" in stage(run, "first steps")[0]["decided"] and not kinds(run, "trial")
