"""Exact statistics for the norms of a finished model: kept where they prove better on validation."""

import json

import pytest
from safetensors.torch import load_file

from visus import api, ledger

SETS = ["model=cnn", "model.width=8", "model.stages=2", "training.threads=1", "training.precision=float32",
        "training.epochs=6", "data.validation=0.25", "training.checkpoint_every=none"]  # fmt: skip
# A rate that never comes down, for two epochs: the running averages are far behind the weights.
RESTLESS = ["schedule=constant", "optimizer.rate=0.2", "training.epochs=2"]


def train(folder, *sets, **how):
    return api.train("digits", out=folder, set=[*SETS, *sets], **how)


def trials(run):
    lines = ledger.select(ledger.read(run.folder), "trial")
    return [line for line in lines if line["remedy"] == "recalibrated-statistics"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statistics")
    return train(folder / "cured", *RESTLESS), train(folder / "plain", *RESTLESS, cure=False)


def test_what_is_proved_is_kept_and_nothing_but_statistics_changes(runs):
    cured, plain = runs
    (trial,) = trials(cured)
    assert trial["kept"] and trial["interval"][0] > 0 and not trials(plain)
    before = plain.metrics["validation_error"]
    assert cured.metrics["validation_error"] == pytest.approx(before - trial["effect"])
    one, two = (load_file(run.folder / "model.safetensors") for run in runs)
    changed = {name.rsplit(".", 1)[1] for name in one if not one[name].equal(two[name])}
    assert {"running_mean"} <= changed <= {"running_mean", "running_var", "num_batches_tracked"}
    held = json.loads((cured.folder / "model.json").read_text())
    assert held["metrics"]["validation_error"] == cured.metrics["validation_error"]


def test_the_test_error_is_that_of_the_model_that_goes_out(runs):
    cured, _ = runs
    again = api.evaluate(cured.folder, reason="a test")
    assert again["test_error"] == cured.metrics["test_error"]


def test_the_page_tells_it(runs):
    page = (runs[0].folder / "report.html").read_text()
    assert "Exact statistics of the training images" in page
    assert "The model goes out with it." in page


def test_a_person_may_decline(tmp_path):
    run = train(tmp_path / "r", *RESTLESS, cure=lambda line: False)
    assert trials(run) and not any(line["kept"] for line in trials(run))


def test_a_net_without_running_averages_is_left_out(tmp_path):
    run = train(tmp_path / "r", "model.norm=group", "training.epochs=2")
    stages = [line["name"] for line in ledger.select(ledger.read(run.folder), "stage")]
    assert "statistics" not in stages and not trials(run)
