"""Two processes train as one does: same losses to rounding, one writer, and they resume."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ranks
import torch

from visus.ledger import read
from visus.training import load_trained
from visus.training.distributed import World, join

HERE = Path(__file__).parent


def launch(folder: Path) -> list[float]:
    path = os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen(
        [*command, str(HERE / "ranks.py"), str(folder)],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, error = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        raise AssertionError("the ranks wait for each other") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the launcher and its ranks, if any are left
    assert process.returncode == 0, error[-2000:]
    return [float(row) for row in out.split()]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_ranks_train_as_one_and_stop_and_go_on(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone, both = ranks.main(str(tmp_path / "one")), launch(tmp_path / "two")
    assert len(alone) == 16 and both == pytest.approx(alone, rel=1e-3)
    lines = read(tmp_path / "two")
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2]
    assert [line["step"] for line in lines if line["kind"] == "resume"] == [5]
    one, two = (load_trained(tmp_path / name).state_dict() for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-2, atol=1e-4)


def test_alone_everything_is_the_identity():
    world = join()
    assert world == World() and world.main
    tensor = torch.ones(3)
    world.mean([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert world.agree({"a": 1}) == {"a": 1} and not world.any(False, torch.device("cpu"))
