"""`visus train` under torchrun: one writer, one look at test, one voice; stopped together, resumed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import visus
from visus import ledger
from visus.training import load_trained

ROOT = Path(__file__).parents[2]
SETS = ["model.name=cnn", "model.width=8", "model.norm=none", "batch_size=64", "optimizer.rate=0.05",
        "jitter=none", "training.precision=float32", "training.threads=1"]  # fmt: skip

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch without distributed"
)


def start(*words: str, cache: Path, more: tuple[str, ...] = ()) -> subprocess.Popen:
    env = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "VISUS_CACHE": str(cache),
    }  # fmt: skip
    sets = [p for one in (*SETS, *more) for p in ("--set", one)] if "--resume" not in words else []
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               "-m", "visus", "train", *words, *sets]  # fmt: skip
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)  # fmt: skip


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        raise AssertionError("the ranks wait for each other") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def wait_for(process: subprocess.Popen, seen: Any) -> None:
    """Until `seen()`, while the ranks are at work."""
    until = time.monotonic() + 90
    while not seen():
        assert process.poll() is None, ended(process)
        assert time.monotonic() < until
        time.sleep(0.01)


def kinds(folder: Path) -> list[str]:
    return [line["kind"] for line in ledger.read(folder)]


def test_two_ranks_write_once_and_train_as_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    status, out, err = ended(
        start("digits", "--out", str(two), "--epochs", "2", "--json", cache=tmp_path / "cache")
    )
    assert status == 0, err[-2000:]
    result = json.loads(out)
    assert result["status"] == "done" and 0 < result["metrics"]["test_error"] < 0.9
    for kind in ("run", "data", "split", "environment", "recipe", "plan", "look", "end"):
        expected = 2 if kind == "look" else 1  # the vault's line, and what was seen
        assert kinds(two).count(kind) == expected, (kind, kinds(two))
    assert kinds(two).count("epoch") == 2
    assert {"first steps", "midway"} <= {x.get("name") for x in ledger.read(two)}
    assert "trial" not in kinds(two)  # nothing is wrong
    visus.train("digits", out=one, epochs=2, cure=False, set=SETS)
    alone, both = (load_trained(folder).state_dict() for folder in (one, two))
    for name in alone:
        torch.testing.assert_close(alone[name], both[name], rtol=2e-2, atol=2e-3)


SICK = {
    "fork": ("init=zero",),
    "race": ("schedule={name='one-cycle', warmup=0.98, start=0.0001}", "model.norm=batch"),
}


def sick(how: str) -> tuple[str, ...]:
    return (*SICK[how], "training.epochs=10", "data.validation=0.25", "seed=3")


@pytest.fixture(scope="module")
def treated(tmp_path_factory):
    """The folder of a sick run of two ranks, by what treats it; trained once."""
    made: dict[str, Path] = {}

    def run(how: str) -> Path:
        if how not in made:
            folder = tmp_path_factory.mktemp(how)
            process = start(
                "digits", "--out", str(folder / "two"), cache=folder / "c", more=sick(how)
            )
            status, _, err = ended(process)
            assert status == 0, err[-2000:]
            made[how] = folder / "two"
        return made[how]

    return run


@pytest.mark.parametrize("how", SICK)
def test_two_ranks_cure_as_one(treated, tmp_path, how):
    """Each takes its part of a fork's batches; the first looks and decides, once, for both."""
    lines = ledger.read(treated(how))
    (kept,) = [x for x in ledger.select(lines, "trial") if x["kept"]]
    assert bool(kept.get("race")) == (how == "race")
    alone = visus.train("digits", out=tmp_path / "one", set=[*SETS, *sick(how)])
    (other,) = [x for x in ledger.select(ledger.read(alone.folder), "trial") if x["kept"]]
    assert kept["edits"] == other["edits"]
    assert kept["cost_steps"] == pytest.approx(other["cost_steps"], rel=0.05)
    error = ledger.last(lines, "end")["metrics"]["validation_error"]  # type: ignore[index]
    assert error == pytest.approx(alone.metrics["validation_error"], abs=0.03)
    (restart,) = [x for x in lines if x.get("restart")]
    assert ", ".join(kept["edits"]) in restart["notes"][0]
    names = {x["name"] for x in ledger.select(lines, "stage")}
    assert {"statistics", "test"} <= names  # the cured network has batch norms


def killed(process: subprocess.Popen, seen: Any) -> None:
    """All ranks at once, without mercy, as soon as `seen()`."""
    wait_for(process, seen)
    for pid in ranks_of(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ended(process)


def ranks_of(process: subprocess.Popen) -> list[int]:
    """The launcher and what it started, each in a session of its own."""
    found = [process.pid]
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to find the ranks by")
def test_ranks_killed_in_a_race_end_with_the_same_weights(treated, tmp_path):
    """Its half-run rival is lost with them, and the race is run again to the same end."""
    whole, cut = treated("race"), tmp_path / "cut"
    process = start("digits", "--out", str(cut), cache=tmp_path / "c", more=sick("race"))
    killed(process, lambda: (cut / "race" / ledger.NAME).is_file())
    assert "trial" not in kinds(cut), "the race was over before it was killed"
    status, _, err = ended(start("--resume", str(cut), cache=tmp_path / "c"))
    assert status == 0, err[-2000:]
    one, other = (load_trained(folder).state_dict() for folder in (whole, cut))
    assert all(one[name].equal(other[name]) for name in one)
    assert len([x for x in ledger.read(cut) if x["kind"] == "trial" and x["kept"]]) == 1


def test_two_ranks_train_on_a_split_that_was_divided_anew(tmp_path):
    """Rank 0 finds the copies and divides; the other takes what it left."""
    x = np.random.default_rng(0).integers(0, 256, (160, 12, 12), dtype=np.uint8)
    y = np.arange(160) % 2
    np.savez(tmp_path / "set.npz", x_train=np.concatenate([x[:120], x[150:]]), x_test=x[120:],
             y_train=np.concatenate([y[:120], y[150:]]), y_test=y[120:])  # fmt: skip
    status, _, err = ended(
        start(str(tmp_path / "set.npz"), "--out", str(tmp_path / "r"), "--epochs", "2", cache=tmp_path / "c")
    )  # fmt: skip
    assert status == 0, err[-2000:]
    lines = ledger.read(tmp_path / "r")
    (told,) = [x for x in ledger.select(lines, "stage") if x["name"] == "re-split"]
    assert told["evidence"]["left_out"] == 10 and told["evidence"]["test_untouched"]
    assert [x["leaks"] for x in ledger.select(lines, "split")] == [10, 0]
    assert ledger.last(lines, "end")["status"] == "done"  # type: ignore[index]


def test_two_ranks_stop_together_and_go_on(tmp_path):
    folder = tmp_path / "r"
    process = start(
        "digits", "--out", str(folder), "--epochs", "400", "--no-cure", cache=tmp_path / "cache"
    )
    wait_for(process, lambda: (folder / ledger.NAME).is_file() and "epoch" in kinds(folder))
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert kinds(folder).count("end") == 1
    end = ledger.last(ledger.read(folder), "end")
    assert end is not None and end["status"] == "stopped" and "go on with" in end["message"]
    step = ledger.last(ledger.read(folder), "stop")["step"]  # type: ignore[index]
    process = start("--resume", str(folder), cache=tmp_path / "cache")
    wait_for(process, lambda: "resume" in kinds(folder) and kinds(folder)[-1] in ("step", "epoch"))
    process.send_signal(signal.SIGTERM)
    ended(process)
    resumed = ledger.last(ledger.read(folder), "resume")
    assert resumed is not None and resumed["step"] == step


def test_wrong_usage_is_said_once(tmp_path):
    status, _, err = ended(start("nowhere", "--out", str(tmp_path / "r"), cache=tmp_path / "c"))
    assert status != 0 and err.count("visus: ") == 1
