"""The pages of the findings are what the rules' docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

spec = importlib.util.spec_from_file_location(
    "docs_findings", Path(__file__).parents[2] / "docs" / "findings.py"
)
assert spec is not None and spec.loader is not None
findings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(findings)


def test_no_page_is_stale():
    assert findings.stale() == [], "run: python docs/findings.py"


def test_every_page_has_its_parts():
    for path, text in findings.pages().items():
        missing = [part for part in findings.PARTS if f"**{part}:**" not in text]
        assert not missing, f"{path.name} lacks {missing}"


def test_a_stale_page_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "OUT", tmp_path)
    for path, text in findings.pages().items():
        path.write_text(text)
    assert findings.stale() == []
    (tmp_path / "relu-dead.md").write_text("old")
    (tmp_path / "no-rule.md").write_text("left over")
    assert findings.stale() == ["no-rule.md", "relu-dead.md"]
