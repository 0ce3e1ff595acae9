"""A session from recipe to model: what it learns, writes, and how it ends."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny_data
import torch
from safetensors.torch import save_file
from torch import nn

from visus.errors import RecipeError, RunError
from visus.layers import inits, losses, norms
from visus.ledger import Ledger, read
from visus.training import Session, evaluate, load_recipe, load_trained, probes

HERE = Path(__file__).parent
QUICK = ["model=cnn", "model.width=4", "batch_size=8", "optimizer.rate=0.05", "training.threads=1",
         "training.precision=float32"]  # fmt: skip


def session(folder=None, *sets: str, data=None, **kw) -> Session:
    ledger = Ledger(folder) if folder else Ledger()
    return Session(
        load_recipe(None, [*QUICK, *sets]), data or tiny_data.blobs(), folder, ledger, **kw
    )


def kinds(lines: list[dict]) -> list[str]:
    return list(dict.fromkeys(line["kind"] for line in lines))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_digits_are_learned_with_every_choice_left_to_auto(optimizer):
    data, ledger = tiny_data.digits(), Ledger()
    recipe = load_recipe(None, [f"optimizer={optimizer}", "epochs=10", "model.width=16"])
    run = Session(recipe, data, None, ledger)
    list(run.run())
    found = evaluate(run.best(), data.validation)
    assert found.error < 0.03, found.error
    assert "auto" not in json.dumps(run.recipe.tree()["training"]), run.recipe.training
    assert run.recipe.optimizer.rate != "auto" and run.recipe.model.name == "cnn"


def test_the_run_folder_and_its_ledger(tmp_path):
    run = session(tmp_path, "epochs=3")
    taken = list(run.run())
    assert [step.step for step in taken] == list(range(1, 25)) and run.finished == "done"
    names = {path.name for path in tmp_path.iterdir()}
    assert {"recipe.toml", "model.safetensors", "model.json", "best.safetensors"} <= names
    lines = read(tmp_path)
    assert {"environment", "recipe", "model", "threads", "plan", "step", "epoch", "checkpoint",
            "stop"} <= set(kinds(lines))  # fmt: skip
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3] and epochs[0]["best"]
    for line in epochs:
        assert 0 <= line["train_error"] <= 1 and 0 <= line["validation_error"] <= 1
    step = next(line for line in lines if line["kind"] == "step")
    assert {"step", "steps", "epoch", "loss", "rate", "images_per_second", "seconds_left"} <= set(
        step
    )
    assert load_recipe(tmp_path / "recipe.toml") == run.recipe


def test_the_model_that_is_loaded_is_the_best_that_was_trained(tmp_path):
    data = tiny_data.blobs()
    run = session(tmp_path, "epochs=3", "training.ema=0.9", "model.dropout=0.2", data=data)
    list(run.run())
    model = load_trained(tmp_path)
    assert not model.training and model.classes == data.classes
    assert model.size == (8, 8) and model.channels == 1 and model.recipe == run.recipe
    one, other = evaluate(model, data.validation), evaluate(run.best(), data.validation)
    torch.testing.assert_close(one.probabilities, other.probabilities)
    assert one.error == run.best_facts["validation_error"]
    assert one.loss == pytest.approx(run.best_facts["validation_loss"], rel=1e-5)
    logits = model(torch.rand(2, 1, 8, 8))
    assert logits.shape == (2, 3)


def test_the_normalization_of_the_input_is_inside_the_model():
    data = tiny_data.blobs()
    model = session(data=data).model
    x = torch.rand(4, 1, 8, 8)
    mean, std = (torch.tensor(v).float().view(-1, 1, 1) for v in (data.mean, data.std))
    model.eval()
    torch.testing.assert_close(model(x), model.network((x - mean) / std))
    plain = session(None, "normalization=none", data=data).model.eval()
    torch.testing.assert_close(plain(x), plain.network(x))


def test_training_error_is_measured_without_jitter_and_dropout():
    data = tiny_data.blobs()
    run = session(None, "epochs=1", "model.dropout=0.5", data=data)
    list(run.run())
    line = next(line for line in run.ledger.lines if line["kind"] == "epoch")
    found = evaluate(run.model, data.train, indices=run.judge.sample)
    assert found.error == line["train_error"] and len(run.judge.sample) == len(data.validation)
    assert found.loss == pytest.approx(line["train_loss"], rel=1e-6)


def test_early_stopping_and_the_best_epoch_is_kept():
    data = tiny_data.blobs()
    data.validation.targets = (data.validation.targets + 1) % 3  # learning makes it worse
    run = session(None, "epochs=40", "training.early_stopping=2", data=data)
    list(run.run())
    epochs = [line for line in run.ledger.lines if line["kind"] == "epoch"]
    assert run.finished == "early-stopping" and len(epochs) < 40
    assert not epochs[-1]["best"] and not epochs[-2]["best"]
    best = [line for line in epochs if line["best"]][-1]
    assert evaluate(run.best(), data.validation).error == best["validation_error"]


@pytest.mark.parametrize("name", losses)
def test_every_loss_trains_or_is_refused_in_one_line(name):
    sets = [f"loss={name}", "epochs=2", "optimizer.rate=0.02"]
    if name == "margin-ranking":
        with pytest.raises(RecipeError, match="cannot compare"):
            session(None, *sets)
        return
    run = session(None, *sets)
    found = [step.loss for step in run.run()]
    assert sum(found[-4:]) < sum(found[:4])


@pytest.mark.parametrize("name", inits)
def test_every_init_is_used(name):
    plain, run = session(), session(None, f"init={name}")
    weights = [m.model.network[0][0].weight for m in (plain, run)]
    assert not torch.equal(*weights) and torch.isfinite(weights[1]).all()


@pytest.mark.parametrize("name", norms)
def test_every_norm_trains(name):
    run = session(None, f"model.norm={name}", "epochs=1")
    before = [w.detach().clone() for w in run.model.parameters()]
    assert all(math.isfinite(step.loss) and step.norm > 0 for step in run.run())
    moved = [not torch.equal(w, b) for w, b in zip(run.model.parameters(), before, strict=True)]
    assert all(moved), "a parameter of the norm is not trained"


def test_no_validation_images_keeps_the_last():
    data = tiny_data.blobs(held=0)
    run = session(None, "epochs=2", data=data)
    list(run.run())
    assert run.finished == "done" and run.best_facts["validation_error"] is None
    assert evaluate(run.best(), data.train).error < 0.7


@pytest.mark.parametrize("limit", [1.5, 4.0])
def test_a_time_limit_is_kept(tmp_path, limit):
    start = time.monotonic()
    run = session(tmp_path, f"time_limit={limit}", "optimizer.rate=auto")
    list(run.run())
    spent = time.monotonic() - start
    assert 0.4 * limit < spent < limit + 0.5, spent
    plan = next(line for line in read(tmp_path) if line["kind"] == "plan")
    assert plan["steps"] > 0 and "ms a step" in plan["reason"]
    assert (tmp_path / "model.safetensors").exists()


def test_a_slower_machine_shortens_the_plan(tmp_path, monkeypatch):
    run = session(tmp_path, "time_limit=5")
    start = time.monotonic()
    for step in run.run():
        if step.step > 8:
            time.sleep(0.05)
    assert time.monotonic() - start < 6
    plans = [line for line in read(tmp_path) if line["kind"] == "plan"]
    assert len(plans) > 1 and plans[-1]["steps"] < plans[0]["steps"]
    assert run.finished == "time-limit"
    rates = [line["rate"] for line in read(tmp_path) if line["kind"] == "epoch"]
    assert rates[-1] < max(rates) / 5, "the schedule did not come to its end"


def test_stop_from_the_consumer_leaves_a_checkpoint(tmp_path):
    run = session(tmp_path, "epochs=3")
    for step in run.run():
        if step.step == 5:
            run.stop("looked enough")
    assert run.state.step == 5 and not run.finished
    stop = next(line for line in read(tmp_path) if line["kind"] == "stop")
    assert stop["reason"] == "looked enough"
    assert session(tmp_path, "epochs=3").state.step == 5
    assert (tmp_path / "model.safetensors").exists()


SIGNALED = """
import os, signal, sys
sys.path[:0] = [{here!r}]
import test_session
run = test_session.session({folder!r}, "epochs=300")
for step in run.run():
    if step.step == 5:
        os.kill(os.getpid(), signal.{name})
        {second}
print("after", run.state.step, run.stopping)
"""


def child(folder: Path, name: str, second: str = "") -> subprocess.CompletedProcess:
    text = SIGNALED.format(here=str(HERE), folder=str(folder), name=name, second=second)
    path = os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_at_the_next_step_with_a_checkpoint(tmp_path, name):
    done = child(tmp_path, name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["after", "5", "signal", name]
    stop = next(line for line in read(tmp_path) if line["kind"] == "stop")
    assert stop["reason"] == f"signal {name}" and stop["step"] == 5
    assert session(tmp_path, "epochs=300").state.step == 5


def test_a_stop_while_getting_ready_settles_nothing(tmp_path, monkeypatch):
    run = session(tmp_path, "epochs=2", "optimizer.rate=auto")
    estimate = probes.usual_rate
    monkeypatch.setattr(probes, "usual_rate", lambda r: run.stop("signal SIGINT") or estimate(r))
    assert list(run.run()) == [] and run.interrupted
    monkeypatch.undo()
    assert not (tmp_path / "recipe.toml").exists()
    again = session(tmp_path, "epochs=2", "optimizer.rate=auto")
    assert len(list(again.run())) == 16 and again.finished == "done"


def test_a_second_signal_does_what_it_always_did(tmp_path):
    done = child(tmp_path, "SIGTERM", "os.kill(os.getpid(), signal.SIGTERM)")
    assert done.returncode == -signal.SIGTERM


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    run = session(None, "epochs=1")
    for _ in run.run():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


class Own(nn.Module):
    """A module of the user's."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))


def test_a_module_of_the_callers_trains_resumes_and_loads(tmp_path):
    data, own = tiny_data.blobs(), Own()
    before = own.body.weight.detach().clone()
    for step in session(tmp_path, "epochs=2", data=data, model=own).run():
        if step.step == 3:
            break
    run = session(tmp_path, "epochs=2", data=data, model=Own())
    assert run.state.step == 3
    list(run.run())
    assert torch.equal(own.body.weight, before), "the caller's module is not trained in place"
    model = load_trained(tmp_path, Own())
    assert evaluate(model, data.validation).error == run.best_facts["validation_error"]
    with pytest.raises(RunError, match="load_trained"):
        load_trained(tmp_path)


def test_fine_tuning_moves_the_body_less(tmp_path):
    data = tiny_data.blobs()
    first = session(None, "epochs=2", data=data)
    list(first.run())
    weights = {k: v.contiguous() for k, v in first.best().network.state_dict().items()}
    save_file(weights, tmp_path / "body.safetensors")
    other = tiny_data.blobs(classes=4)
    sets = [f"model.pretrained={tmp_path / 'body.safetensors'}", "epochs=1"]
    still = session(None, *sets, "optimizer.body_rate=0.0", data=other)
    begin = {k: v.clone() for k, v in still.model.network.named_parameters()}
    list(still.run())
    moved = {k for k, v in still.model.network.named_parameters() if not torch.equal(v, begin[k])}
    assert moved == set(still.fresh) and len(moved) == 2
    assert torch.equal(begin["0.0.weight"], weights["0.0.weight"])
    (tmp_path / "run").mkdir()
    for step in session(tmp_path / "run", *sets, data=other).run():
        if step.step == 2:
            break
    (tmp_path / "body.safetensors").unlink()
    resumed = session(tmp_path / "run", *sets, data=other)
    assert resumed.state.step == 2 and resumed.fresh == still.fresh


@pytest.mark.parametrize(("n", "batch"), [(1, 8), (7, 8), (8, 8), (9, 8), (20, 8)])
def test_few_images(n, batch):
    data = tiny_data.blobs(n=n, held=3)
    run = session(None, f"batch_size={batch}", "epochs=2", "model.norm=none", data=data)
    assert len(list(run.run())) == 2 * max(1, n // min(n, batch))


def test_each_epoch_sees_other_left_over_images():
    feed = session(None, "batch_size=8", data=tiny_data.blobs(n=20)).feed
    seen = [
        set(torch.cat([feed.indices(2 * e), feed.indices(2 * e + 1)]).tolist()) for e in range(5)
    ]
    assert all(len(s) == 16 for s in seen) and len(set.union(*seen)) == 20


def test_slow_images_are_fetched_ahead_and_are_the_same():
    class Slow(tiny_data.Images):
        threads: list[str] = []  # noqa: RUF012

        def batch(self, indices):
            time.sleep(0.004)
            self.threads.append(threading.current_thread().name)
            return super().batch(indices)

    data, slow = tiny_data.blobs(), tiny_data.blobs()
    slow.train = Slow(slow.train.pixels, slow.train.targets)
    feeds = [session(None, data=d).feed for d in (data, slow)]
    for step in (0, 1, 2, 7, 3, 8, 8, 9):
        for left, right in zip(feeds[0](step), feeds[1](step), strict=True):
            assert torch.equal(left, right)
    assert {"MainThread", "visus-feed_0"} == set(Slow.threads)


def test_no_model_and_a_damaged_one_are_one_line(tmp_path):
    with pytest.raises(RunError, match="no model"):
        load_trained(tmp_path)
    list(session(tmp_path, "epochs=1").run())
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunError, match="damaged"):
        load_trained(tmp_path)


def test_a_damaged_best_falls_back_on_the_last_with_a_note(tmp_path):
    run = session(tmp_path, "epochs=1")
    list(run.run())
    (tmp_path / "best.safetensors").write_bytes(b"")
    run.best()
    assert any(line["kind"] == "note" for line in read(tmp_path))


def test_steps_are_throttled(tmp_path):
    list(session(tmp_path, "epochs=6").run())
    lines = [line for line in read(tmp_path) if line["kind"] == "step"]
    assert lines[0]["step"] == 1 and lines[-1]["step"] == 48 and len(lines) < 20
