"""A folder with every kind of broken file: each is named with its reason, the rest goes on."""

from __future__ import annotations

import os

import pytest
import torch
from pictures import bomb, classes, encoded, noise

from visus.data import prepare
from visus.errors import DataError
from visus.ledger import Ledger

GOOD = {"cat": 60, "dog": 60}


def broken(folder):
    """{name: word of the reason} of what is wrong with the folder."""
    classes(folder, GOOD)
    jpeg, png = encoded(noise(1, (64, 64))), encoded(noise(1, (64, 64)), "PNG")
    files = {
        "cat/truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cat/truncated.png": (png[: len(png) // 2], "truncated"),
        "cat/half-header.png": (png[:20], "not an image"),
        "cat/zero.jpg": (b"", "empty file"),
        "cat/text.jpg": (b"I am no picture", "not an image"),
        "dog/bomb.png": (bomb(), "pixels"),
        "dog/large.png": (bomb(9_000), "9000 x 9000 pixels"),
        "dog/crc.png": (png[:20] + bytes([png[20] ^ 255]) + png[21:], "not an image"),
        "dog/postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        "dog/notes.txt": (b"a note", "not an image"),
        "dog/table.csv": (b"path,target\n", "not an image"),
    }  # fmt: skip
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    (folder / "dog" / "folder.jpg").mkdir()
    os.symlink(folder / "nowhere", folder / "dog" / "dangling.jpg")
    os.mkfifo(folder / "dog" / "pipe.jpg")
    (folder / "top.jpg").write_bytes(jpeg)
    for quiet in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.jpg", ".git"):
        (folder / quiet).write_bytes(b"x")
    return {name: word for name, (_, word) in files.items()} | {
        "dog/folder.jpg": "folder", "dog/dangling.jpg": "no such file",
        "dog/pipe.jpg": "regular", "top.jpg": "beside",
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("budget", [None, 1e-6])
def test_each_broken_file_is_named_and_the_rest_goes_on(tmp_path, workers, budget):
    reasons = broken(tmp_path / "d")
    ledger = Ledger()
    data = prepare(tmp_path / "d", max_bad=0.5, workers=workers, budget_mb=budget, ledger=ledger)
    assert {b.name for b in data.bad} == set(reasons)
    for name, reason, _ in data.bad:
        assert reasons[name] in reason and "\n" not in reason
    assert sum(data.split.sizes.values()) == 120 and data.size == (10, 12)
    assert data.train.batch(torch.arange(len(data.train))).float().mean() > 100
    assert {b["name"] for b in ledger.lines[0]["bad"]} == set(reasons)


def test_too_many_broken_files_stop_with_one_line_and_name_all_in_the_ledger(tmp_path):
    reasons = broken(tmp_path / "d")
    ledger = Ledger()
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "d", ledger=ledger)
    text = str(caught.value)
    assert "\n" not in text and "11 of 131 images" in text and "--set data.max_bad=" in text
    assert {b["name"] for b in ledger.lines[-1]["bad"]} == set(reasons)
    told = float(text.rsplit("=", 1)[1])
    assert len(prepare(tmp_path / "d", max_bad=told).bad) == len(reasons)


def test_text_files_do_not_count_as_broken_images(tmp_path):
    classes(tmp_path, {"a": 9, "b": 9})
    (tmp_path / "a" / "readme.txt").write_text("no picture")
    assert [b.name for b in prepare(tmp_path).bad] == ["a/readme.txt"]


def test_all_broken_is_named_too(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 2 images .* a/1.jpg \(empty file\)"):
        prepare(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_is_named(tmp_path):
    classes(tmp_path, {"a": 9, "b": 9})
    (tmp_path / "a" / "000.png").chmod(0)
    assert prepare(tmp_path, max_bad=0.2).bad[0].reason == "permission denied"


def test_an_operating_system_error_is_named(tmp_path, monkeypatch):
    classes(tmp_path, {"a": 9, "b": 9})
    real = os.open

    def refuse(path, *rest, **more):
        if str(path).endswith("a/000.png"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert prepare(tmp_path, max_bad=0.2).bad == [("a/000.png", "permission denied", True)]
