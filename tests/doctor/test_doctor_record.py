"""A watch writes the lines that docs/doctor.md promises."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import digits, fit, mlp

from visus.doctor import Doctor, watch
from visus.doctor.record import thin
from visus.ledger import Ledger, read, select

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def promised():
    """The kinds of lines and their fields, as the page lists them."""
    block = PAGE.read_text().split("What a watch writes down")[1].split("## How it works")[0]
    found = re.findall(r"^    (\w+)\{(.*?)\}(?: |$)", block, flags=re.MULTILINE)
    return {kind: set(re.findall(r"(\w+)(?:: \[.*\])?(?:,|$)", rest)) for kind, rest in found}


@pytest.fixture(scope="module")
def lines():
    x, y, *_ = digits()
    ledger = Ledger()
    torch.manual_seed(0)
    model = mlp(64, 64, 10)
    with Doctor(ledger=ledger) as doctor:
        doctor.host.record.shown -= 9  # as if half a second had passed
        fit(model, x * 255, y, optimizer=torch.optim.SGD(model.parameters(), 0.1), steps=60)
    return json.loads(json.dumps(ledger.lines))


def test_every_line_has_the_fields_of_the_page(lines):
    kinds = promised()
    assert {"step", "signal", "histogram", "landscape", "finding", "end"} <= kinds.keys()
    for line in lines:
        fields = line.keys() - {"kind", "t"}
        if line["kind"] != "layers":
            assert fields == kinds[line["kind"]], line["kind"]
    assert {"step", "layers", "signal", "histogram", "landscape", "finding", "end"} <= {
        line["kind"] for line in lines
    }


def test_histograms_count_every_value_and_landscapes_pass_through_the_step(lines):
    for line in select(lines, "histogram"):
        assert len(line["counts"]) == len(line["edges"]) - 1
        assert sum(line["counts"]) + line["low"] + line["high"] > 0
        assert line["edges"] == sorted(line["edges"])
    first = select(lines, "landscape")[0]
    assert first["rates"][0] == 0 and len(first["rates"]) == len(first["losses"])
    assert first["losses"][0] == pytest.approx(first["before"], rel=1e-3)
    assert first["rate"] in first["rates"]


def test_signals_join_to_the_series_of_the_doctor(lines):
    values = [v for line in select(lines, "signal")
              if (line["place"], line["quantity"]) == ("loss", "value") for v in line["values"]]  # fmt: skip
    assert len(values) == 60
    end = select(lines, "end")[-1]
    assert end["steps"] == 60 and end["status"] == "done" and end["overhead"] > 0


def test_findings_name_their_causes(lines):
    found = select(lines, "finding")
    assert found[0]["id"] == "input-not-normalized" and found[0]["causes"] == []
    names = [f["id"] for f in found]
    assert all(set(f["causes"]) <= set(names) for f in found)


def test_a_script_that_fails_ends_its_ledger(tmp_path):
    script = tmp_path / "bad.py"
    script.write_text("import torch\nraise RuntimeError('no data')\n")
    watch(script, ledger=Ledger(tmp_path))
    lines = read(tmp_path)
    assert lines[0]["kind"] == "watch" and lines[0]["script"] == str(script)
    assert lines[-1]["kind"] == "end" and lines[-1]["status"] == "failed"
    assert "no data" in lines[-1]["message"]


def test_long_series_are_thinned_with_their_ends():
    points = [(k, float(k)) for k in range(12345)]
    kept = thin(points)
    assert len(kept) == 500 and kept[0] == points[0] and kept[-1] == points[-1]
    assert thin(points[:7]) == points[:7]
