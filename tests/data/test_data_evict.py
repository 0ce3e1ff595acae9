"""The cache stays within its limits, says what left it, and never takes what somebody reads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from pictures import classes

from visus.data import evict, prepare
from visus.errors import UsageError
from visus.ledger import Ledger

ROOT = Path(__file__).parents[2]


def made(folder: Path, name: str, home: Path, seed: int, ledger: Ledger | None = None):
    """A data set of its own, decoded into the cache at `home`, as another process would."""
    if not (folder / name).exists():
        classes(folder / name, {"a": 6 + seed, "b": 6})
    return prepare(folder / name, cache=home, ledger=ledger)


def forget() -> None:
    """What this process read is not in use any more."""
    while evict._held:
        evict._held.popitem()[1].close()


def entries(home: Path) -> list[Path]:
    return [path for path in (home / "images").iterdir() if not path.name.startswith(".")]


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path / evict.META, (then, then))


def notes(ledger: Ledger) -> list[str]:
    return [line["text"] for line in ledger.lines if line["kind"] == "note"]


def test_the_least_recently_used_leaves_and_is_told(tmp_path, monkeypatch):
    home = tmp_path / "cache"
    for n, name in enumerate("xyz"):
        made(tmp_path, name, home, n)
    forget()
    for path in entries(home):
        age(path, 1)
    made(tmp_path, "x", home, 0)  # used again: the youngest now
    forget()
    size = sum(f.stat().st_size for path in entries(home) for f in path.iterdir())
    monkeypatch.setenv(evict.LIMIT, str(size * 0.99 / 1e9))
    ledger = Ledger()
    made(tmp_path, "w", home, 3, ledger)
    assert (
        len(notes(ledger)) == 1 and "removed" in notes(ledger)[0] and "\n" not in notes(ledger)[0]
    )
    forget()
    ledger = Ledger()
    made(tmp_path, "x", home, 0, ledger)
    assert not notes(ledger), "x was still there"


def test_what_is_old_leaves_whatever_the_size(tmp_path):
    home = tmp_path / "cache"
    made(tmp_path, "x", home, 0)
    forget()
    age(entries(home)[0], 61)
    ledger = Ledger()
    made(tmp_path, "y", home, 1, ledger)
    assert len(entries(home)) == 1 and "unused for 61 days" in notes(ledger)[0]


def test_what_this_process_reads_stays(tmp_path, monkeypatch):
    home = tmp_path / "cache"
    held = made(tmp_path, "x", home, 0)
    before = held.train.batch(torch.arange(len(held.train)))
    monkeypatch.setenv(evict.LIMIT, "0")
    ledger = Ledger()
    made(tmp_path, "y", home, 1, ledger)
    assert len(entries(home)) == 2 and not notes(ledger)
    assert torch.equal(before, held.train.batch(torch.arange(len(held.train))))


def test_what_another_process_reads_stays(tmp_path, monkeypatch):
    home = tmp_path / "cache"
    made(tmp_path, "x", home, 0)
    forget()
    code = textwrap.dedent(f"""
        from visus.data import prepare
        held = prepare({str(tmp_path / "x")!r}, cache={str(home)!r})
        print("reading", flush=True)
        input()
    """)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    reader = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
        monkeypatch.setenv(evict.LIMIT, "0")
        made(tmp_path, "y", home, 1)
        assert len(entries(home)) == 2, "another process reads it"
    finally:
        reader.communicate("\n", timeout=30)
    forget()
    ledger = Ledger()
    made(tmp_path, "z", home, 2, ledger)
    assert "removed 2 data sets" in notes(ledger)[0]


def test_an_entry_that_is_being_removed_is_not_read(tmp_path):
    home = tmp_path / "cache"
    made(tmp_path, "x", home, 0)
    forget()
    (entry,) = entries(home)
    with open(entry / evict.META, "rb") as file:
        assert evict._locked(file, shared=False)
        assert not evict.hold(entry)
    assert evict.hold(entry)


def test_a_wrong_limit_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv(evict.LIMIT, "much")
    with pytest.raises(UsageError, match="VISUS_CACHE_GB = 'much'; give gigabytes"):
        made(tmp_path, "x", tmp_path / "cache", 0)
