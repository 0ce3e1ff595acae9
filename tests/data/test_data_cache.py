"""The cache: the same bytes as decoding anew, whole or absent, safe between processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import classes, encoded, noise, save
from PIL import Image

from visus.data import cache, prepare
from visus.data.decode import to_pixels
from visus.errors import DataError

ROOT = Path(__file__).parents[2]


def mixed(folder):
    """JPEG and PNG of several sizes, one of them unreadable."""
    classes(folder, {"a": 150, "b": 150})
    for i in range(20):
        path = folder / "b" / f"photo{i}.jpg"
        path.write_bytes(encoded(noise(500 + i, (200 + 10 * i, 150))))
    (folder / "a" / "bad.jpg").write_bytes(encoded(noise(1, (90, 90)))[:300])
    return folder


def pixels(data):
    return data.train.batch(torch.arange(len(data.train)))


def entry(folder):
    (found,) = [p for p in (folder / "images").iterdir() if not p.name.startswith(".")]
    return found


@pytest.mark.parametrize("size", [None, 20])
def test_cached_and_decoded_on_demand_are_bit_identical(tmp_path, size):
    mixed(tmp_path / "d")
    kept = prepare(tmp_path / "d", size=size, cache=tmp_path / "one")
    again = prepare(tmp_path / "d", size=size, cache=tmp_path / "one", workers=3)
    demand = prepare(tmp_path / "d", size=size, cache=tmp_path / "two", budget_mb=1e-6, workers=2)
    assert (entry(tmp_path / "one") / cache.PIXELS).stat().st_size > 0
    assert (entry(tmp_path / "two") / cache.PIXELS).stat().st_size == 0
    assert torch.equal(pixels(kept), pixels(demand)) and torch.equal(pixels(kept), pixels(again))
    assert kept.split == demand.split and (kept.mean, kept.std) == (demand.mean, demand.std)
    assert kept.bad == again.bad == demand.bad and len(kept.bad) == 1


def test_the_second_time_nothing_is_decoded(tmp_path, monkeypatch):
    mixed(tmp_path / "d")
    first = prepare(tmp_path / "d")
    monkeypatch.setattr("visus.data.inputs.Files.open", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(pixels(first), pixels(prepare(tmp_path / "d")))


def test_other_content_another_entry(tmp_path):
    mixed(tmp_path / "d")
    prepare(tmp_path / "d", cache=tmp_path / "c")
    save(tmp_path / "d" / "a" / "000.png", noise(4321))
    data = prepare(tmp_path / "d", cache=tmp_path / "c", validation=0, test=0)
    assert len(list((tmp_path / "c" / "images").iterdir())) == 2
    seen = data.train.batch(torch.tensor([data.train.names.index("a/000.png")]))[0]
    expected = to_pixels(Image.fromarray(noise(4321)), (3, *data.size))
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    "harm",
    [
        lambda e: (e / cache.PIXELS).write_bytes(b"short"),
        lambda e: (e / cache.META).write_text("{"),
        lambda e: (e / cache.MOMENTS).write_bytes(b""),
        lambda e: (e / cache.META).unlink(),
        lambda e: shutil.rmtree(e),
    ],
    ids=["pixels", "meta", "moments", "no meta", "gone"],
)
def test_a_damaged_entry_is_made_anew(tmp_path, harm):
    mixed(tmp_path / "d")
    first = pixels(prepare(tmp_path / "d", cache=tmp_path / "c")).clone()
    harm(entry(tmp_path / "c"))
    assert torch.equal(pixels(prepare(tmp_path / "d", cache=tmp_path / "c")), first)


def test_an_entry_without_pixels_gets_them_when_the_budget_allows(tmp_path):
    mixed(tmp_path / "d")
    prepare(tmp_path / "d", cache=tmp_path / "c", budget_mb=1e-6)
    prepare(tmp_path / "d", cache=tmp_path / "c")
    assert (entry(tmp_path / "c") / cache.PIXELS).stat().st_size > 0


def test_abandoned_folders_are_swept_and_young_ones_left(tmp_path):
    mixed(tmp_path / "d")
    for name in (".making-old", ".making-young"):
        (tmp_path / "c" / "images" / name).mkdir(parents=True)
    os.utime(tmp_path / "c" / "images" / ".making-old", (0, 0))
    prepare(tmp_path / "d", cache=tmp_path / "c")
    left = {p.name for p in (tmp_path / "c" / "images").glob(".*")}
    assert left == {".making-young"}


def test_no_room_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    mixed(tmp_path / "d")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("U", (), {"free": 10}))
    with pytest.raises(
        DataError, match=r"cache: cannot keep .* MB .*no space left.*VISUS_CACHE"
    ) as caught:
        prepare(tmp_path / "d", cache=tmp_path / "c")
    assert "\n" not in str(caught.value) and not list((tmp_path / "c" / "images").iterdir())


def test_a_disk_that_fills_up_while_writing_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    mixed(tmp_path / "d")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="no space left"):
        prepare(tmp_path / "d", cache=tmp_path / "c")
    assert not list((tmp_path / "c" / "images").iterdir())


def test_a_real_full_disk(tmp_path):
    """A tmpfs of 64 KB, where the machine lets us make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False)  # fmt: skip
    if made.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        mixed(tmp_path / "d")
        with pytest.raises(DataError, match="no space left"):
            prepare(tmp_path / "d", cache=disk)
        assert prepare(tmp_path / "d", cache=disk, budget_mb=1e-6).size == (8, 8)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_file_that_vanishes_while_training_is_named(tmp_path):
    mixed(tmp_path / "d")
    data = prepare(tmp_path / "d", budget_mb=1e-6)
    name = data.train.names[3]
    (tmp_path / "d" / name).unlink()
    with pytest.raises(DataError, match=re.escape(name) + " cannot be read any more"):
        data.train.batch(torch.arange(8))


def run(code, tmp_path, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "VISUS_CACHE": str(tmp_path / "cache")}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)  # fmt: skip


def test_two_processes_make_the_same_entry_at_once(tmp_path):
    mixed(tmp_path / "d")
    code = f"""
        import torch
        from visus.data import prepare
        data = prepare({str(tmp_path / "d")!r}, workers=2)
        import hashlib
        print(hashlib.sha256(data.train.batch(torch.arange(len(data.train))).numpy()).hexdigest())
    """
    both = [run(code, tmp_path) for _ in range(2)]
    said = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert said[0][0] == said[1][0] != ""
    assert [p.name for p in (tmp_path / "cache" / "images").iterdir() if p.name[0] == "."] == []
    assert json.loads((entry(tmp_path / "cache") / cache.META).read_text())["pixels"]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_scan_at_once_and_leaves_nothing(tmp_path, workers):
    mixed(tmp_path / "d")
    code = f"""
        import time
        from visus.data import inputs, prepare
        real = inputs.Files.open
        def slow(self, i):
            print("decoding", flush=True)
            time.sleep(0.05)
            return real(self, i)
        inputs.Files.open = slow
        prepare({str(tmp_path / "d")!r}, workers={workers}, size=8, channels=3)
    """
    process = run(code, tmp_path)
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode not in (0, None) and time.monotonic() - start < 3
    assert not list((tmp_path / "cache" / "images").iterdir())
