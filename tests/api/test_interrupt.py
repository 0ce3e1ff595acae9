"""Ctrl-C while a command is still being read in: one clean line or none, never a false error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from visus.cli import interrupt, main

ROOT = Path(__file__).parents[2]
SWALLOWS = """
import signal, sys
from visus.cli import interrupt

def profile(frame, event, arg):
    if event == "call" and frame.f_code.co_filename == interrupt.IMPORTS and frame.f_code.co_name == "cb":
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

interrupt.hold()
sys.setprofile(profile)
import wave, sqlite3, xml.dom.minidom
sys.setprofile(None)
print("went on")
"""
SCRIPT = "import torch\nfor _ in range(10**9):\n    torch.ones(9).sum()\n"


@pytest.mark.parametrize("name", ["train", "watch", "help"])
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.8, 1.5])
def test_ctrl_c_in_the_first_second(name, delay, tmp_path):
    (tmp_path / "x.py").write_text(SCRIPT)
    out, watched = str(tmp_path / "run"), str(tmp_path / "x.py")
    words = {"train": ["train", "digits", "--out", out], "watch": ["watch", watched]}
    child = begin(words.get(name, ["--help"]))
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    told, err = child.communicate(timeout=60)
    said = "".join(
        line for line in err.splitlines(keepends=True) if not line.startswith("import time:")
    )
    assert "Traceback" not in told + said and "fault of visus" not in said
    assert len([line for line in said.splitlines() if "Error" in line]) == 0, said
    # -SIGINT: CPython ends so itself where the KeyboardInterrupt has passed through an `exec`.
    ends = {1, 130, -signal.SIGINT, *([0] if name == "help" else [])}
    assert child.returncode in ends, said


def begin(words: list[str]) -> subprocess.Popen:
    """The command, as soon as it is past Python's own start: that prints a traceback of its own."""
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "visus", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.rstrip().endswith("typer"):  # among the first that visus.cli reads in
            return child
    raise AssertionError("the command ended before it began")


def test_what_the_import_system_calls_back_does_not_swallow_it():
    """An exception in the callback of an import's lock is printed and dropped: the command went on."""
    child = subprocess.run(
        [sys.executable, "-c", SWALLOWS], cwd=ROOT, text=True, capture_output=True
    )
    assert child.returncode == interrupt.STATUS, child.stderr
    assert child.stderr.startswith("visus: interrupted") and child.stderr.count("\n") == 1


def test_the_handler_stands_only_while_a_command_runs():
    before = signal.getsignal(signal.SIGINT)
    interrupt.hold()
    interrupt.release()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_somebody_else_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupt.hold()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_the_work_is_one_line_and_status_1(monkeypatch, capsys):
    """The command line's parser would leave with a status of its own and without a word."""
    monkeypatch.setattr("visus.doctor.explain", lambda _: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(interrupt, "heard", [])
    with pytest.raises(SystemExit) as left:
        main(["explain", "relu-dead"])
    err = capsys.readouterr().err
    assert left.value.code == 1
    assert err.startswith("visus: interrupted; the same command") and err.count("\n") == 1
