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


def start(*words: str, cache: Path) -> subprocess.Popen:
    env = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "VISUS_CACHE": str(cache),
    }  # fmt: skip
    sets = [part for one in SETS for part in ("--set", one)] if "--resume" not in words else []
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
    notes = [x["text"] for x in ledger.read(two) if x["kind"] == "note"]
    assert len([text for text in notes if "2 ranks: no remedy is tried" in text]) == 1, notes
    visus.train("digits", out=one, epochs=2, cure=False, set=SETS)
    alone, both = (load_trained(folder).state_dict() for folder in (one, two))
    for name in alone:
        torch.testing.assert_close(alone[name], both[name], rtol=2e-2, atol=2e-3)


def test_two_ranks_stop_together_and_go_on(tmp_path):
    folder = tmp_path / "r"
    process = start("digits", "--out", str(folder), "--epochs", "400", cache=tmp_path / "cache")
    until = time.monotonic() + 90
    while not (folder / ledger.NAME).is_file() or "epoch" not in kinds(folder):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert kinds(folder).count("end") == 1
    end = ledger.last(ledger.read(folder), "end")
    assert end is not None and end["status"] == "stopped" and "go on with" in end["message"]
    step = ledger.last(ledger.read(folder), "stop")["step"]  # type: ignore[index]
    process = start("--resume", str(folder), cache=tmp_path / "cache")
    until = time.monotonic() + 90
    while kinds(folder).count("resume") == 0 or kinds(folder)[-1] not in ("step", "epoch"):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ended(process)
    resumed = ledger.last(ledger.read(folder), "resume")
    assert resumed is not None and resumed["step"] == step


def test_wrong_usage_is_said_once(tmp_path):
    status, _, err = ended(start("nowhere", "--out", str(tmp_path / "r"), cache=tmp_path / "c"))
    assert status != 0 and err.count("visus: ") == 1
