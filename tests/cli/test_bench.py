"""`visus bench` lists questions, refuses names it does not know, and runs a file with its options."""

from __future__ import annotations

import pytest

from visus.cli import bench
from visus.errors import UsageError, VisusError


@pytest.fixture
def benchmarks(tmp_path, monkeypatch):
    place = tmp_path / "benchmarks"
    place.mkdir()
    (place / "harness.py").write_text('"""What all share."""\n')
    (place / "one.py").write_text(
        '"""Is `a.b` one?\n\nMore."""\nimport sys\nopen(sys.argv[2], "w").write(sys.argv[1])\n'
    )
    (place / "sick.py").write_text('"""Does it fail?"""\nraise SystemExit(3)\n')
    monkeypatch.setattr(bench, "folder", lambda: place)
    return place


def test_bare_it_lists_the_questions(benchmarks, capsys):
    bench.bench(None)
    assert capsys.readouterr().out.split() == [
        "one",
        "Is",
        "`a.b`",
        "one?",
        "sick",
        "Does",
        "it",
        "fail?",
    ]


def test_it_runs_the_named_one_with_its_options(benchmarks, tmp_path):
    bench.bench(["one", "--quick", str(tmp_path / "said")])
    assert (tmp_path / "said").read_text() == "--quick"


def test_failures_are_one_line(benchmarks):
    with pytest.raises(UsageError, match="did you mean 'one'"):
        bench.bench(["onee"])
    with pytest.raises(UsageError, match="which benchmark first"):
        bench.bench(["--quick"])
    with pytest.raises(VisusError, match="sick ended with status 3"):
        bench.bench(["sick"])


def test_without_a_checkout_it_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.setattr(bench.visus, "__file__", str(tmp_path / "lib" / "visus" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VisusError, match="checkout of the repository"):
        bench.folder()
