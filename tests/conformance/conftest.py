"""What the borrowed suites ran is printed at the end of every test run.

A suite test records one line for each kind of case through the `tally` fixture; the
lines travel as user properties of the report, so the summary also works under xdist.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

KEY = "conformance"


@pytest.fixture
def tally(record_property):
    """Record a `Tally` for the terminal summary."""
    return lambda suite, counts: record_property(KEY, {"suite": suite, **counts})


def pytest_terminal_summary(terminalreporter):
    """Print how many cases of each suite ran, passed, failed and were skipped, and why."""
    totals, why = defaultdict(Counter), defaultdict(Counter)
    for status in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(status, []):
            for key, value in getattr(report, "user_properties", []):
                if key == KEY:
                    _count(totals[value["suite"]], why[value["suite"]], value)
    if totals:
        terminalreporter.section("conformance: suites that others wrote")
    for suite, seen in sorted(totals.items()):
        terminalreporter.write_line(
            f"{suite}: {seen['passed'] + seen['failed']} ran, {seen['passed']} passed, "
            f"{seen['failed']} failed, {seen['skipped']} skipped"
        )
        for reason, count in why[suite].most_common():
            terminalreporter.write_line(f"    {count:4d} skipped: {reason}")


def _count(total, why, value):
    total["passed"] += value["passed"]
    total["failed"] += value["failed"]
    total["skipped"] += sum(value["skipped"].values())
    why.update(value["skipped"])
