"""`visus tune` as a user meets it: it finds, goes on, shares, ends in one line, and never sees test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import visus
from visus import ledger
from visus.cli import main
from visus.data import Vault
from visus.errors import DataError, RunError, UsageError
from visus.training import Session, load_recipe
from visus.training.tuning import storage

ROOT = Path(__file__).parents[2]
TINY = ["--set", "model.name=mlp", "--set", "model.width=16", "--set", "epochs=4", "--set", "training.threads=1",
        "--set", "training.precision=float32"]  # fmt: skip
QUICK = {"set": [word for word in TINY if word != "--set"]}


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Status, standard output and standard error of a command; a traceback fails the test."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(left.value.code or 0), out, err


def start(folder: Path, *words: str) -> subprocess.Popen:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "visus", "tune", "digits", *TINY, "--out", str(folder), *words]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def trials(folder: Path) -> list[dict]:
    lines = ledger.read(folder) if (folder / ledger.NAME).is_file() else []
    return ledger.select(lines, "tuning-trial")


def wait_for(folder: Path, count: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 60
    while len(trials(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


def two_classes(test: int = 0, n: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, targets and splits; only the test images depend on `test`."""
    draw = np.random.default_rng(0)
    targets = np.arange(n) % 2
    images = draw.integers(0, 140, (n, 8, 8)) + 60 * targets[:, None, None]
    splits = np.array(["train", "train", "validation", "test"])[np.arange(n) // 2 % 4]
    seen = np.random.default_rng(test).integers(0, 200, (n, 8, 8))
    images[splits == "test"] = seen[splits == "test"]
    return images.astype(np.uint8), targets, splits


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A study on the digits, told on standard output as JSON."""
    folder = tmp_path_factory.mktemp("studies") / "digits"
    with pytest.raises(SystemExit) as left:
        main(["tune", "digits", "--trials", "10", *TINY, "--out", str(folder)])
    assert left.value.code in (0, None)
    return folder


def test_a_study_leaves_a_recipe_that_trains(study, capsys, tmp_path):
    result = visus.Study(study).result()
    assert result["status"] == "done" and len(result["trials"]) == 10 + len(
        [t for t in result["trials"] if t["role"] == "final"]
    )
    assert result["metrics"]["validation_error"] <= result["metrics"]["default_validation_error"]
    recipe = load_recipe(study / "best.toml")
    assert recipe == visus.Study(study).best and recipe.training.epochs == 4
    words = ["train", "--recipe", str(study / "best.toml"), "--out", str(tmp_path / "r"), "--json"]
    status, _, err = call(capsys, *words)
    assert status == 0, err
    assert (tmp_path / "r" / "split.json").read_bytes() == (study / "split.json").read_bytes()
    assert (study / "report.html").read_text().count("<svg") >= 4


def test_the_best_recipe_repeats_its_error(study):
    """The recipe on file trains to the error of its trial: nothing of it was left out."""
    result = visus.Study(study).result()
    chosen = next(t for t in result["trials"] if t["number"] == result["chosen"])
    from visus.data import prepare

    session = Session(load_recipe(study / "best.toml"), prepare("digits"))
    for _ in session.run():
        pass
    assert session.metrics()["validation_error"] == chosen["error"]
    assert session.metrics()["validation_loss"] == pytest.approx(chosen["loss"], rel=1e-5)


def test_test_is_out_of_reach(study, tmp_path, monkeypatch):
    assert not ledger.select(ledger.read(study), "look")
    seen = []
    init = Session.__init__

    def spy(self, recipe, dataset, *rest, **more):
        seen.append(dataset.vault)
        init(self, recipe, dataset, *rest, **more)

    def shut(self, *_):
        raise AssertionError("the vault was opened")

    monkeypatch.setattr(Session, "__init__", spy)
    monkeypatch.setattr(Vault, "look", shut)
    found = []
    for test in (1, 2):
        images, targets, splits = two_classes(test)
        path = tmp_path / f"{test}.npz"
        parts = {}
        for part in ("train", "validation", "test"):
            parts[f"x_{part}"], parts[f"y_{part}"] = images[splits == part], targets[splits == part]
        np.savez(path, **parts)
        folder = tmp_path / f"study{test}"
        visus.tune(path, trials=4, finals=1, out=folder, **QUICK)
        found.append([{k: v for k, v in t.items() if k != "seconds"} for t in visus.Study(folder).trials])  # fmt: skip
    assert found[0] == found[1], "other test images, another search"
    assert seen and all(vault is None for vault in seen)


def test_json_is_one_object_and_more_trials_go_on(capsys, tmp_path):
    words = ["tune", "digits", *TINY, "--out", str(tmp_path / "s"), "--finals", "0", "--json"]
    status, out, err = call(capsys, *words, "--trials", "2")
    assert status == 0 and len(json.loads(out)["trials"]) == 2 and "trial 1" in err
    status, out, _ = call(capsys, *words, "--trials", "4")
    numbers = [trial["number"] for trial in json.loads(out)["trials"]]
    assert status == 0 and numbers == [0, 1, 2, 3]
    assert [t["number"] for t in trials(tmp_path / "s")] == [0, 1, 2, 3], "no line twice"


def test_a_search_is_a_function_of_its_seed(tmp_path):
    found = []
    for name, steps in (("whole", (5,)), ("parts", (2, 5))):
        for count in steps:
            visus.tune("digits", trials=count, finals=0, out=tmp_path / name, **QUICK)
        found.append([(t["values"], t["error"]) for t in visus.Study(tmp_path / name).trials])
    assert found[0] == found[1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_or_killed_it_goes_on(tmp_path, how):
    folder = tmp_path / "s"
    process = start(folder, "--trials", "60", "--finals", "0")
    wait_for(folder, 3, process)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 1 and "go on with: visus tune digits" in err
        assert err.count("Traceback") == 0
    had = len(trials(folder))
    process = start(folder, "--trials", str(had + 2), "--finals", "0", "--json")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["metrics"]["trials"] == had + 2
    assert len(result["trials"]) == had + 2


def test_a_trial_whose_process_died_before_it_signed_is_taken_over(monkeypatch):
    from visus.training.tuning import storage

    study = storage.quiet_optuna().create_study()
    job = study.ask()
    storage.revive(study)
    assert [t.state.name for t in study.trials] == ["RUNNING"], "it may be about to sign"
    monkeypatch.setattr(storage, "UNSIGNED", -1.0)
    storage.revive(study)
    assert [t.state.name for t in study.trials] == ["FAIL", "WAITING"]
    with_sign = study.ask()
    storage.sign(with_sign)
    storage.revive(study)
    assert study.trials[with_sign.number].state.name == "RUNNING" and job.number == 0


def test_two_processes_share_a_study(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    words = ["--trials", "12", "--storage", url, "--finals", "1", "--json"]
    both = [start(tmp_path / name, *words) for name in ("a", "b")]
    told = [process.communicate(timeout=150) for process in both]
    ends = [err.splitlines()[-3:] for _, err in told]
    assert [process.returncode for process in both] == [0, 0], ends
    results = [json.loads(out) for out, _ in told]
    one, other = ({t["number"]: t["values"] for t in r["trials"]} for r in results)
    assert one == other and 12 <= results[0]["metrics"]["trials"] <= 13
    assert results[0]["chosen"] == results[1]["chosen"]


def test_the_time_is_kept(tmp_path):
    began = time.monotonic()
    found = visus.tune("digits", time_limit="12s", finals=0, out=tmp_path / "s", **QUICK).result()
    assert time.monotonic() - began < 24
    assert found["status"] == "done" and found["metrics"]["trials"] >= 1


def test_trials_that_diverge_are_told_and_nothing_to_choose_is_one_line(capsys, tmp_path):
    words = ["tune", "digits", *TINY, "--set", "optimizer.rate=1e30", "--vary", "optimizer.rate"]
    status, _, err = call(capsys, *words, "--trials", "3", "--out", str(tmp_path / "s"))
    assert (status, err.count("\n")) == (1, 1)
    assert "none of 3 trials was finished" in err and "the loss is" in err
    assert {t["state"] for t in trials(tmp_path / "s")} == {"diverged"}
    assert "diverged" in (tmp_path / "s" / "report.html").read_text()


def test_a_diverged_plain_recipe_is_mended(tmp_path):
    """The plain recipe explodes, others do not: the search goes on and finds one of them."""
    sets = [*QUICK["set"], "optimizer.name=sgd", "optimizer.rate=10", "model.norm=none"]
    vary = ["optimizer.rate", "optimizer.momentum"]
    found = visus.tune("digits", trials=12, vary=vary, out=tmp_path / "s", set=sets).result()
    assert found["values"] and found["metrics"]["validation_error"] < 0.9


def test_bad_data_and_bad_wishes_end_in_one_line(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = [
        (["tune", str(tmp_path / "empty")], "data"),
        (["tune", "digits", "--set", "data.validation=0"], "no validation images"),
        (["tune", "digits", "--set", "training.time_limit=5"], "--time-limit"),
        (["tune", "digits", "--vary", "optimizer.rat"], "did you mean 'optimizer.rate'"),
        (["tune", "digits", "--time-limit", "soon"], "time-limit: 'soon'"),
        (["tune", "digits", "--storage", "nosuch://x:secret@y/z"], "storage: cannot open"),
        (["tune"], "no data"),
    ]
    for n, (words, said) in enumerate(cases):
        status, _, err = call(capsys, *words, "--out", str(tmp_path / f"s{n}"))
        last = err.strip().splitlines()[-1]
        assert status in (1, 2) and last.startswith("visus: ") and said in last, (words, err)
        assert "secret" not in err


def test_arrays_can_be_tuned(tmp_path):
    images, targets, _ = two_classes()
    study = visus.tune((images, targets), trials=2, out=tmp_path / "s", **QUICK)
    assert study.result()["metrics"]["trials"] == 2
    run = visus.train((images, targets), recipe=study.best, out=tmp_path / "r")
    assert run.metrics["test_n"] > 0


def test_a_recipe_that_cannot_train_is_an_error(tmp_path, monkeypatch):
    import visus.training.tuning.attempt as place

    def broken(*_, **__):
        raise RuntimeError("shapes (3) and (4) do not fit\nsecond line")

    monkeypatch.setattr(place, "Session", broken)
    with pytest.raises(RunError, match="the recipe itself does not train: shapes"):
        visus.tune("digits", trials=2, out=tmp_path / "a", **QUICK)

    def gone(*_, **__):
        raise DataError("data: a.png cannot be read any more")

    monkeypatch.setattr(place, "Session", gone)
    with pytest.raises(DataError, match="any more"):
        visus.tune("digits", trials=2, out=tmp_path / "b", **QUICK)


def test_ranks_and_passwords(monkeypatch):
    assert storage.shown("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert storage.shown("sqlite:///x.db") == "sqlite:///x.db"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="without torchrun"):
        visus.tune("digits")


def test_help_and_import_stay_free_of_optuna():
    code = "import visus, sys, visus.api; assert 'optuna' not in sys.modules and 'sqlalchemy' not in sys.modules"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
