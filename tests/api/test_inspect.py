"""`visus inspect` on data as people have it."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from visus import api
from visus.cli import main
from visus.data import prepare
from visus.ledger import Ledger, select


@pytest.fixture
def folder(tmp_path):
    g = torch.Generator().manual_seed(0)
    for k in range(60):
        for name in ("cat", "dog"):
            path = tmp_path / "photos" / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = (
                torch.nn.functional.interpolate(
                    torch.rand(1, 3, 6, 6, generator=g), 24, mode="bicubic"
                )[0].clamp(0, 1)
                * 255
            ).byte()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return tmp_path / "photos"


def call(capsys, *args):
    with pytest.raises(SystemExit) as left:
        main(["inspect", *args])
    seen = capsys.readouterr()
    return left.value.code or 0, seen.out, seen.err


def test_broken_odd_and_copied_files_are_named(folder, tmp_path, capsys):
    (folder / "cat" / "broken.jpg").write_bytes(b"no image")
    Image.open(folder / "cat" / "3.png").save(folder / "dog" / "copy.jpg", quality=90)
    Image.new("RGB", (240, 24), "red").save(folder / "dog" / "long.png")
    status, out, _ = call(
        capsys,
        str(folder),
        "--json",
        "--out",
        str(tmp_path / "page"),
        "--set",
        "data.size=24",
        "--seconds",
        "1",
    )
    result = json.loads(out)
    assert status == 0 and [b["name"] for b in result["bad"]] == ["cat/broken.jpg"]
    conflict = result["audit"]["conflicts"] or result["audit"]["copies"]
    assert "copy.jpg" in json.dumps(conflict) + json.dumps(result["findings"])
    assert [odd["name"] for odd in result["audit"]["sizes"]["odd"]] == ["dog/long.png"]
    for found in result["findings"]:
        assert {
            "id",
            "severity",
            "confidence",
            "where",
            "first_step",
            "evidence",
            "explanation",
            "remedies",
        } <= set(found)
    page = (tmp_path / "page" / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert call(capsys, str(folder), "--cheap", "--out", str(tmp_path / "page"))[0] == 0


def test_names_are_escaped_on_the_page(folder, tmp_path):
    Image.new("RGB", (24, 24), "red").save(folder / "dog" / "<script>alert(1)<x>.png")
    Image.new("RGB", (24, 24), "red").save(folder / "dog" / "flat.png")
    api.inspect(folder, out=tmp_path / "page", cheap=True)
    assert "<script>alert" not in (tmp_path / "page" / "report.html").read_text()


def test_three_images_are_audited_whole_and_the_division_is_a_finding(tmp_path, capsys):
    for k, name in enumerate(("a", "a", "b")):
        (tmp_path / "d" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 80 * k).save(tmp_path / "d" / name / f"{k}.png")
    status, out, _ = call(capsys, str(tmp_path / "d"), "--json", "--out", str(tmp_path / "page"))
    found = json.loads(out)["findings"]
    assert status == 0 and found[0]["id"] == "label-invalid" and found[0]["severity"] == "error"


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    for args in (["no-such-folder"], [str(tmp_path)]):
        status, out, err = call(capsys, *args, "--out", str(tmp_path / "page"))
        assert status in (1, 2) and not out and len(err.strip().splitlines()) == 1


def test_test_pixels_are_on_record_and_no_look(folder):
    ledger = Ledger()
    dataset = prepare(folder)
    api.audit(dataset, ledger, cheap=True)
    assert select(ledger.lines, "pixels")[0]["n"] == len(dataset.vault)
    assert not select(ledger.lines, "look") and dataset.vault.looks(ledger) == 0


def test_excluded_names_are_left_out(folder, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat/1.png\ndog/2.png\n")
    left = prepare(folder, exclude=str(names))
    rows = [name for part in left.split.rows.values() for name, _, _ in part]
    assert len(rows) == 118 and not {"cat/1.png", "dog/2.png"} & set(rows)
