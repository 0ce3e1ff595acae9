"""The programs of examples/patients: the first finding is the fault that they were given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from visus.doctor import watch
from visus.doctor.rules import rules

FOLDER = Path(__file__).parents[2] / "examples" / "patients"
ROW = re.compile(r"^\| \[(\w+\.py)\]\(\1\) \|.*\| `([\w-]+)` \|$", re.MULTILINE)
TABLE = dict(ROW.findall((FOLDER / "README.md").read_text()))


def test_the_table_names_every_program_and_known_findings():
    assert set(TABLE) == {path.name for path in FOLDER.glob("*.py")}
    assert len(TABLE) == 10
    assert set(TABLE.values()) <= set(rules)


def test_reported_faults_cite_their_report():
    cited = [name for name in TABLE if "https://" in (FOLDER / name).read_text()[:400]]
    assert len(cited) >= 5


# Three hundred steps at this rate are chaos: with AVX2 (not with AVX-512) the training loss falls
# to 2.15 with chance on validation, and no short experiment tells the rate from a weak network.
CHAOTIC = pytest.mark.xfail(reason="the course differs by machine", strict=False)
PROGRAMS = [
    pytest.param(name, marks=CHAOTIC if name == "rate_of_a_paper.py" else ())
    for name in sorted(TABLE)
]


@pytest.mark.parametrize("name", PROGRAMS)
def test_first_finding_is_the_fault(name, capsys):
    result = watch(FOLDER / name, max_steps=300)
    capsys.readouterr()
    assert result["error"] is None, result["error"]
    assert result["doctor_errors"] == []
    assert [found["id"] for found in result["findings"]][:1] == [TABLE[name]]
