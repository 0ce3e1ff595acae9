"""The ledger: append-only, torn lines survived, readable without torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from visus import ledger
from visus.errors import RunError
from visus.files import replace, replace_json


def test_lines_come_back_in_order(tmp_path):
    heard = []
    book = ledger.Ledger(tmp_path, on=[heard.append])
    book.write("step", step=1, loss=0.5)
    book.write("epoch", step=1, path=Path("a/b"), values=np.arange(2), worst=float("nan"))
    lines = ledger.read(tmp_path)
    assert [line["kind"] for line in lines] == ["step", "epoch"]
    assert heard == lines
    assert lines[1] | {"t": 0} == {
        "kind": "epoch",
        "t": 0,
        "step": 1,
        "path": "a/b",
        "values": [0, 1],
        "worst": "nan",
    }


def test_a_torn_last_line_costs_only_itself(tmp_path):
    book = ledger.Ledger(tmp_path)
    book.write("step", step=1)
    whole = book.path.read_bytes()
    for cut in range(len(whole)):
        book.path.write_bytes(whole + whole[:cut])
        again = ledger.Ledger(tmp_path)
        again.write("step", step=2)
        steps = [line["step"] for line in ledger.read(tmp_path)]
        assert steps[0] == 1
        assert steps[-1] == 2


def test_garbage_lines_are_passed_over(tmp_path):
    (tmp_path / ledger.NAME).write_bytes(b'\xff\xfe\n[1]\n{"no": 1}\n\n{"kind": "end"}\n')
    assert ledger.read(tmp_path) == [{"kind": "end"}]


def test_a_resume_takes_back_what_came_after_its_step():
    lines = [
        {"kind": k, "step": s}
        for k, s in [("step", 1), ("step", 5), ("look", 9), ("resume", 3), ("step", 4)]
    ]
    kept = ledger.history(lines)
    assert [(line["kind"], line["step"]) for line in kept] == [
        ("step", 1),
        ("look", 9),
        ("resume", 3),
        ("step", 4),
    ]
    assert ledger.last(kept, "step") == {"kind": "step", "step": 4}
    assert ledger.last(kept, "end") is None


def test_no_ledger_is_one_line(tmp_path):
    with pytest.raises(RunError, match="no ledger at"):
        ledger.read(tmp_path)


def test_in_memory_without_a_folder():
    book = ledger.Ledger()
    book.write("end", status="done")
    assert book.lines[0]["status"] == "done"


def test_a_full_disk_is_one_line(tmp_path):
    book = ledger.Ledger(tmp_path)
    book.path.symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space left"):
        book.write("step", step=1)


def test_files_are_whole_or_not_at_all(tmp_path):
    target = tmp_path / "state.json"
    replace_json(target, {"a": 1})

    def half(temporary: Path) -> None:
        temporary.write_text('{"a":')
        raise OSError(28, os.strerror(28))

    with pytest.raises(RunError, match="No space left"):
        replace(target, half)
    assert json.loads(target.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
