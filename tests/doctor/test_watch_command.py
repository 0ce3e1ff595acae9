"""`visus watch` as a user meets it: programs that fail, leave early, are stopped, are misspelt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from visus.cli import main
from visus.doctor import watch
from visus.ledger import Ledger

ROOT = Path(__file__).parents[2]
TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(320, 8)
y = x[:, :3].argmax(1)
for step in range(STEPS):
    rows = torch.randint(0, 320, (32,))
    loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.fixture
def script(tmp_path):
    def write(text: str, steps: int = 60) -> str:
        path = tmp_path / "train.py"
        path.write_text(TRAIN.replace("STEPS", str(steps)) + text)
        return str(path)

    return write


def call(capsys, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["watch", *words])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_a_healthy_program(script, capsys):
    status, out, err = call(capsys, script("print('done')"))
    assert (status, out) == (0, "done\n")
    assert "Watched 60 steps: no finding. The training looks healthy." in err and "\x1b" not in err


def test_a_program_that_raises_shows_its_own_traceback_and_is_not_healthy(script, capsys):
    text = "\ndef broken():\n    raise ValueError('no such file')\nbroken()\n"
    status, _, err = call(capsys, script(text))
    assert status == 1 and "ValueError: no such file" in err
    assert "in broken" in err and "runpy" not in err and "watching.py" not in err
    assert "The program ended early: ValueError: no such file (train.py, line" in err
    assert "healthy" not in err.replace("too few steps to call it healthy", "")


def test_a_program_that_never_trains_is_not_called_healthy(tmp_path, capsys):
    path = tmp_path / "nothing.py"
    path.write_text("import sys\nsys.exit('no data in /x')\n")
    status, _, err = call(capsys, str(path))
    assert status == 1 and err.startswith("no data in /x\n") and "no training to watch" in err
    path.write_text("import sys\nsys.exit(7)\n")
    assert call(capsys, str(path))[0] == 7
    path.write_text("def f(:\n")
    status, _, err = call(capsys, str(path))
    assert status == 1 and "SyntaxError" in err and err.count("line 1") == 2


def test_few_steps_prove_nothing(script, capsys):
    status, _, err = call(capsys, "--max-steps", "5", script(""))
    assert status == 0 and "Watched 5 steps: no finding, and too few steps" in err


def test_the_page_and_the_json_are_written(script, capsys, tmp_path):
    page, found = tmp_path / "p.html", tmp_path / "f.json"
    status, *_ = call(capsys, "--report", str(page), "--json", str(found), script(""))
    assert status == 0 and json.loads(found.read_text())["steps"] == 60
    html = page.read_text()
    assert "train.py" in html and "data-broken" not in html
    assert "No finding" in html and "60 steps" in html


def test_findings_come_while_the_program_runs(script, monkeypatch):
    monkeypatch.setattr("visus.doctor.record.PAUSE", 0.0)
    lines = []
    path = script("")
    text = (
        Path(path)
        .read_text()
        .replace("cross_entropy(model(x[rows])", "cross_entropy(model(x[rows]).softmax(1)")
    )
    Path(path).write_text(text)
    watch(path, ledger=Ledger(on=[lines.append]))
    kinds = [(line["kind"], line.get("id"), line.get("early")) for line in lines]
    early = kinds.index(("finding", "loss-mismatch", True))
    after = [n for n, kind in enumerate(kinds) if kind[0] == "step"][-1]
    assert early < after and kinds.index(("finding", "loss-mismatch", False)) > after
    assert sum(kind[2] is True for kind in kinds) == len(
        {kind[1] for kind in kinds if kind[2] is True}
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--json", "NO/f.json"], "--json"),
        (["--report", "NO/p.html"], "--report"),
        (["--report", "."], "is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_out_first(
    script, capsys, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *words, script("print('ran')"))
    assert status == 2 and out == "" and said in err and err.count("\n") == 1


def test_a_misspelt_script_is_answered_with_the_nearest(script, capsys):
    path = script("")
    status, _, err = call(capsys, path.replace("train.py", "trian.py"))
    assert status == 2 and "did you mean '" in err and "train.py'" in err and err.count("\n") == 1
    status, _, err = call(capsys, str(Path(path).parent))
    assert status == 2 and "folder" in err


def test_ctrl_c_ends_the_program_and_tells_what_was_seen(script, tmp_path):
    found = tmp_path / "f.json"
    path = script("", steps=10**9)
    text = Path(path).read_text()
    Path(path).write_text(text + "    if step == 50:\n        print('begun', flush=True)\n")
    command = [sys.executable, "-m", "visus", "watch", "--json", str(found), path]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    child.send_signal(signal.SIGINT)
    err = child.communicate(timeout=60)[1].decode()
    assert child.returncode == 130 and "Traceback" not in err
    assert json.loads(found.read_text())["steps"] > 20 and "stopped by the user" in err
