"""A run that is killed and goes on ends with the weights of the run that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_data
import torch
from safetensors.torch import load_file

from visus.errors import RunError
from visus.ledger import Ledger, read
from visus.training import Session, checkpoint, load_recipe

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def start(folder: Path, *sets: str) -> subprocess.Popen:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    data = folder.parent / "digits.safetensors"
    if not data.exists():
        tiny_data.write_images(tiny_data.digits(), str(data))
    command = [sys.executable, str(HERE / "killed.py"), str(data), str(folder), *sets]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def wait_for_step(process: subprocess.Popen, count: int) -> dict[int, str]:
    """Read step lines until `count` were seen; loss by step."""
    seen: dict[int, str] = {}
    assert process.stdout is not None
    for row in process.stdout:
        number, loss = row.split()
        seen[int(number)] = loss
        if len(seen) == count:
            break
    return seen


def newest(folder: Path) -> tuple[dict, dict]:
    found = checkpoint.newest(folder)
    assert found is not None
    return found[0], found[1]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    assert left.keys() == right.keys()
    return all(left[k].numpy().tobytes() == right[k].numpy().tobytes() for k in left)


@pytest.mark.slow
def test_five_kills_change_no_bit(tmp_path):
    whole = start(tmp_path / "whole")
    losses = wait_for_step(whole, 10**9)
    assert whole.wait() == 0
    draw, seen = random.Random(time.time_ns()), {}
    for _ in range(5):
        process = start(tmp_path / "cut")
        got = wait_for_step(process, draw.randint(5, 60))
        time.sleep(draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen |= got
    process = start(tmp_path / "cut")
    seen |= wait_for_step(process, 10**9)
    assert process.wait() == 0
    assert all(losses[step] == loss for step, loss in seen.items())
    resumes = [line["step"] for line in read(tmp_path / "cut") if line["kind"] == "resume"]
    assert len(resumes) == 5 and any(step % 46 for step in resumes), resumes
    one, other = newest(tmp_path / "whole"), newest(tmp_path / "cut")
    assert same(one[0], other[0])
    assert any(name.startswith("average.") for name in one[0])
    models = [load_file(tmp_path / run / "model.safetensors") for run in ("whole", "cut")]
    assert same(*models)


def session(folder, *sets, data=None):
    recipe = load_recipe(
        None, ["model=cnn", "model.width=4", "model.dropout=0.1", "epochs=3", "batch_size=8",
               "optimizer.rate=0.05", "training.threads=1", "training.precision=float32", *sets]
    )  # fmt: skip
    return Session(recipe, data or tiny_data.blobs(), folder, Ledger(folder))


@pytest.mark.parametrize("sets", [["optimizer=adamw"], ["training.ema=0.9", "training.accumulate=2"],
                                  ["training.precision=float16", "schedule=cosine"],
                                  ["training.precision=bfloat16", "regularization.l1=1e-5"]])  # fmt: skip
def test_leaving_the_loop_mid_epoch_and_going_on(tmp_path, sets):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    list(session(tmp_path / "whole", *sets).run())
    for leave in (3, 6):
        for step in session(tmp_path / "cut", *sets).run():
            if step.step % 8 == leave:
                break
    list(session(tmp_path / "cut", *sets).run())
    one, other = newest(tmp_path / "whole"), newest(tmp_path / "cut")
    assert same(one[0], other[0])
    assert one[1]["best"]["validation_error"] == other[1]["best"]["validation_error"]


def test_a_finished_run_does_nothing_again(tmp_path):
    list(session(tmp_path).run())
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again = session(tmp_path)
    assert list(again.run()) == [] and again.finished == "done"
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_a_damaged_newest_checkpoint_falls_back_with_a_note(tmp_path):
    for step in session(tmp_path).run():
        if step.step == 12:
            break
    newest_file = max(tmp_path.glob("checkpoint-*.safetensors"))
    newest_file.write_bytes(newest_file.read_bytes()[:-7] + b"garbage")
    resumed = session(tmp_path)
    assert resumed.state.step == 8
    line = next(line for line in read(tmp_path) if line["kind"] == "resume")
    assert line["step"] == 8 and "damaged" in line["notes"][0]
    list(resumed.run())
    assert resumed.finished == "done"


def test_no_sound_checkpoint_left_is_one_line(tmp_path):
    for step in session(tmp_path).run():
        if step.step == 2:
            break
    for path in tmp_path.glob("checkpoint-*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match=r"damaged.*no older one is left.*--out"):
        session(tmp_path)


def test_another_recipe_or_other_data_are_refused(tmp_path):
    for step in session(tmp_path).run():
        if step.step == 2:
            break
    with pytest.raises(RunError, match=r"optimizer.rate is 0.05 there and 0.1 here"):
        session(tmp_path, "optimizer.rate=0.1")
    with pytest.raises(RunError, match="other data"):
        session(tmp_path, data=tiny_data.blobs(n=70))
    resumed = Session(None, tiny_data.blobs(), tmp_path)
    assert resumed.state.step == 2 and resumed.recipe.optimizer.rate == 0.05


def test_only_the_newest_two_checkpoints_stay(tmp_path):
    list(session(tmp_path).run())
    assert len(list(tmp_path.glob("checkpoint-*.json"))) == 2
    assert len(list(tmp_path.glob("checkpoint-*.safetensors"))) == 2
    assert not list(tmp_path.glob(".*tmp*"))
