"""Every experiment: a claim, a tiny run with figure and numbers, a verdict that can say no."""

import json
import math
import sys
from typing import Any

import pytest
import torch

from visus.errors import RecipeError, UsageError
from visus.lab import TOPICS, bench, experiments, gallery, runner
from visus.lab.experiment import HOLDS, Experiment, Settings

ALL = runner.names(["all"])
TRAINED = ("zig-zag", "init-variance", "bn-gap", "outliers", "conv-gradient", "dropout-committee", "sgd-gradient")  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_has_a_claim_and_a_size_for_each(name):
    experiment = experiments[name]()
    assert experiment.topic in TOPICS
    assert experiment.claim.endswith(".")
    assert set(experiment.full) | set(experiment.tiny) <= set(experiment.quick)
    assert experiment.seeds >= 2


@pytest.mark.parametrize("name", TRAINED)
def test_runs_tiny_with_figure_and_numbers(name, tmp_path):
    record = runner.run(name, tmp_path, size="tiny", seeds=2)
    held = json.loads((tmp_path / f"{name}.json").read_text())
    assert held["verdict"] == record["verdict"]
    assert len(held["runs"]) == 2
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert "<svg" in (tmp_path / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", ("conv-gradient", "softmax-gradient", "output-size"))
def test_doctored_numbers_do_not_hold(name, tmp_path):
    runner.run(name, tmp_path, size="tiny", seeds=3)
    runs = json.loads((tmp_path / f"{name}.json").read_text())["runs"]
    assert runner.report(name, experiments[name](), runs)["verdict"] == HOLDS
    off = [
        {**r, **{k: [1.0, 1.0] if k == "off" and isinstance(r[k], list) else 5.0 for k in ("off", "wrong") if k in r}}
        for r in runs
    ]  # fmt: skip
    assert runner.report(name, experiments[name](), off)["verdict"] != HOLDS


def _doctored(value: Any, number: float) -> Any:
    """The same tree with every number replaced, and every name in a list by one nobody gave."""
    if isinstance(value, dict):
        return {k: _doctored(v, number) for k, v in value.items()}
    if isinstance(value, list):
        named = value == [] or isinstance(value[0], str)
        return ["nonsense"] if named else [_doctored(v, number) for v in value]
    return value if isinstance(value, str) else number


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", ALL)
def test_no_claim_holds_by_numbers_that_show_nothing(name):
    experiment = experiments[name]()
    runs = [runner.clean(experiment.measure(s, **experiment.settings("tiny"))) for s in (0, 1)]
    equal = runner.report(name, experiment, [_doctored(r, 1.0) for r in runs])
    none = runner.report(name, experiment, [_doctored(r, math.nan) for r in runs])
    assert none["verdict"] != HOLDS
    # That two ways are alike is what this one claims: equal numbers do show it.
    assert (equal["verdict"] == HOLDS) == (name == "all-cnn")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'dead-relu'"):
        runner.names(["dead-rellu"])


def test_finished_is_reused_until_settings_change_or_again(tmp_path):
    first = runner.run("conv-gradient", tmp_path, size="tiny", seeds=2)
    assert not first["reused"]
    assert runner.run("conv-gradient", tmp_path, size="tiny", seeds=2)["reused"]
    assert not runner.run("conv-gradient", tmp_path, size="tiny", seeds=3)["reused"]
    assert not runner.run("conv-gradient", tmp_path, size="tiny", seeds=3, again=True)["reused"]
    (tmp_path / "conv-gradient.json").write_text("{half")
    assert not runner.run("conv-gradient", tmp_path, size="tiny", seeds=3)["reused"]


def test_the_gallery_escapes_and_a_broken_experiment_is_named(tmp_path, monkeypatch):
    class Broken(Experiment):
        topic, claim, quick = "losses", "A <b>claim</b>.", Settings()

        def measure(self, seed):
            raise ValueError("no <numbers>")

    monkeypatch.setitem(experiments._members, "broken", Broken)
    records = runner.run_all(["broken", "softmax-gradient"], tmp_path, processes=1, seeds=2)
    page = gallery.write(tmp_path, records).read_text()
    assert "no &lt;numbers&gt;" in page
    assert "<b>claim" not in page
    assert "data:image/svg+xml;base64," in page
    assert "http" not in page


FULL = [name for name in ALL if experiments[name].full.get("data")]


@pytest.mark.parametrize("name", FULL)
def test_full_size_declares_photographs_and_more_of_them(name):
    quick, full = (experiments[name]().settings(size) for size in ("quick", "full"))
    assert quick["data"] == "digits" and full["data"] == "cifar10"
    assert full["train"] > quick["train"] and full["width"] > quick["width"]


def test_photographs_fall_back_on_digits_and_say_so(monkeypatch):
    monkeypatch.delenv("VISUS_DATA", raising=False)
    assert bench.images(0, 900, data="cifar10").source == "digits"
    assert len(FULL) >= 8


def test_photographs_are_divided_without_overlap(visus_data):
    held = bench.images(1, 1600, data="cifar10")
    assert (held.source, held.shape, len(held.x)) == ("cifar10", (3, 32, 32), 1600)
    assert len(held.validation[0]) == 300 and len(held.test[0]) >= 300
    assert held.x.mean().abs() < 1e-3 and abs(held.x.std() - 1) < 1e-2
    assert (
        len(
            {
                tuple(i.flatten()[:40].tolist())
                for part in (held.x, held.validation[0], held.test[0])
                for i in part
            }
        )
        > 2100
    )
    experiment = experiments["norm-batch-size"]()
    sizes = {**experiment.settings("full"), **experiment.tiny, "train": 1600}
    assert experiment.measure(0, **sizes)["data"] == "cifar10"


@pytest.mark.parametrize(("asked", "gpu", "size"), [(None, True, "full"), (None, False, "quick"), ("quick", True, "quick"), ("full", False, "full")])  # fmt: skip
def test_the_size_is_the_one_asked_for_or_the_machine_s(asked, gpu, size, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert runner.size(asked) == size


def test_the_model_and_its_score_go_where_the_images_lie():
    """Seen on the device "meta", which holds no numbers: a GPU need not be at hand."""
    model = bench.start(bench.mlp(8, 4, 1), 0)
    with pytest.raises((RuntimeError, NotImplementedError)):  # a loss without a number ends it
        bench.fit(
            model,
            torch.empty(6, 8, device="meta"),
            torch.zeros(6, device="meta").long(),
            steps=1,
            rate=0.1,
        )
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_a_missing_matplotlib_is_said_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(runner, "run", lambda *_, **__: pytest.fail("measured first"))
    with pytest.raises(UsageError, match="figures need matplotlib"):
        runner.run_all(["softmax-gradient"], tmp_path, processes=1)
