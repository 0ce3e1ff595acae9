"""Run folders: the same request goes on, another one never overwrites."""

from __future__ import annotations

import pytest

from visus import runs
from visus.errors import RunError
from visus.ledger import Ledger

ASK = {"data": "digits", "recipe": {"seed": 0, "optimizer": {"rate": 0.1}}}
OTHER = {"data": "digits", "recipe": {"seed": 0, "optimizer": {"rate": 0.2}}}


def test_the_same_request_finds_its_unfinished_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = runs.open_run(None, ASK)
    assert str(first) == "runs/digits"
    assert runs.open_run(None, ASK) == first
    assert str(runs.open_run(None, OTHER)) == "runs/digits-2"
    Ledger(first).write("end", status="done")
    assert runs.finished(first)
    assert str(runs.open_run(None, ASK)) == "runs/digits-3"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda out: out.write_text("x"), "is a file"),
        (lambda out: (out.mkdir(), (out / "photo.jpg").write_text("x")), "holds no run"),
        (lambda out: runs.open_run(out, OTHER), "optimizer.rate: 0.2, not 0.1"),
        (lambda out: Ledger(runs.open_run(out, ASK)).write("end", status="done"), "finished run"),
        (lambda out: out.parent.joinpath("runs").write_text(""), None),
    ],
)
def test_a_taken_out_folder_is_one_line(tmp_path, prepare, words):
    out = tmp_path / "out"
    prepare(out)
    if words is None:
        with pytest.raises(RunError, match="cannot make"):
            runs.open_run(out.parent / "runs" / "x", ASK)
        return
    with pytest.raises(RunError, match=words):
        runs.open_run(out, ASK)


def test_read_request_of_no_run(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        runs.read_request(tmp_path)
    (tmp_path / runs.REQUEST).write_text("{")
    with pytest.raises(RunError, match="damaged"):
        runs.read_request(tmp_path)


def test_data_paths_name_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(runs.open_run(None, {"data": "/some/where/my photos/"})) == "runs/my-photos"
