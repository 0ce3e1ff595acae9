"""The Triton passes against float64: by Triton's interpreter, or on the GPU where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed; other backends serve")

ORACLE = Path(__file__).with_name("triton_oracle.py")
ROOT = ORACLE.parents[2]
LIMIT = 12  # roundings of the result


@cache
def lines(*arguments: str) -> list[dict]:
    """The oracle's findings, computed in a process of its own."""
    gpu = torch.cuda.is_available()
    more = {} if gpu else {"TRITON_INTERPRET": "1"}
    environment = {**os.environ, **more, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ORACLE), "--device", "cuda" if gpu else "cpu", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong(found: list[dict]) -> set[str]:
    """The passes that are off by more than the limit in some case; NaN is off."""
    return {key for line in found for key, error in line["errors"].items() if not error <= LIMIT}


def test_every_pass_agrees_with_float64():
    found = lines()
    assert len(found) >= 28
    bad = [line for line in found if wrong([line])]
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize(
    ("broken", "seen"),
    [("moments", "var"), ("apply", "apply"), ("sums", "sums g"), ("write", "write")],
)
def test_a_broken_pass_is_seen(broken, seen):
    """A naive variance (E[x^2] - E[x]^2) and results that are a tenth too large."""
    assert seen in wrong(lines("--break", broken))
