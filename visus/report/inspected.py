"""The audit of a data set for the terminal: readable at a glance."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from visus.report import words
from visus.report.letter import finding
from visus.report.lettering import clean

MOST_CLASSES, MOST_BAD = 20, 5


def letter(result: dict[str, Any]) -> Group:
    """What `inspect` returned: the table of classes, facts in a line each, the findings."""
    facts = clean(result)
    found = facts["findings"]
    grave = [f for f in found if f.get("severity") != "info"]
    head = (
        f"{words.some(len(grave), 'finding')}: {', '.join(f['id'] for f in grave)}"
        if grave
        else "no finding: the data and its split look sound"
    )
    lines = [Text(f"{facts['source']}: {head}", style="bold"), Text(), _table(facts)]
    lines += [
        Text(),
        *(
            Text(f"{name}: ", style="dim").append(said, style="not dim")
            for name, said in _facts(facts)
            if said
        ),
    ]
    lines += [finding(line) for line in found]
    if facts.get("report"):
        lines += [Text(), Text(f"The page with the images: {facts['report']}")]
    return Group(*lines)


def _table(facts: dict[str, Any]) -> Table:
    counts = facts["counts"]
    table = Table("class", *counts, box=None)
    first = next(iter(counts.values()), {})
    for name in list(first)[:MOST_CLASSES]:
        table.add_row(Text(name), *(str(rows.get(name, 0)) for rows in counts.values()))
    if len(first) > MOST_CLASSES:
        table.add_row(Text(f"and {len(first) - MOST_CLASSES} more"))
    table.add_row(Text("all", style="bold"), *(str(sum(rows.values())) for rows in counts.values()))
    return table


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    audit, bad = facts["audit"], facts["bad"]
    named = "; ".join(f"{b['name']} ({b['reason']})" for b in bad[:MOST_BAD])
    copies, labels = audit.get("copies", {}), audit.get("labels")
    mean, std = (", ".join(f"{v:.3f}" for v in facts[k]) for k in ("mean", "std"))
    return [
        ("split", facts["split"]),
        ("images", f"{words.shape(facts['size'])} pixels, {words.some(facts['channels'], 'channel')}; mean {mean}; std {std}"),
        ("unreadable", f"{len(bad)}: {named}{', ...' if len(bad) > MOST_BAD else ''}" if bad else ""),
        ("copies", f"{words.some(copies.get('pairs'), 'pair')}, {copies.get('across')} across splits{'' if copies.get('near') else ' (exact ones only)'}"),
        ("labels", _labels(labels)),
        *((part, _drift(audit.get(f"drift_{part}"))) for part in ("validation", "test")),
        ("sizes", audit.get("sizes", {}).get("said", "")),
        ("not done", "; ".join([audit.get("skipped", ""), *facts.get("errors", [])]).strip("; ")),
    ]  # fmt: skip


def _labels(labels: dict[str, Any] | None) -> str:
    if not labels:
        return ""
    seen = f"predictions of images held out contradict {labels['error']:.1%} (by {labels['by']})"
    if not labels["judged"]:
        return f"not judged, the images are too few or too hard: {seen}"
    return f"about {labels['share']:.1%} arbitrary; {labels['wrong']:,} likelier wrong than right; {seen}"


def _drift(drift: dict[str, Any] | None) -> str:
    return (
        f"told apart from train on {drift['accuracy']:.1%} (chance 50%), p = {drift['p']:.2g}"
        if drift
        else ""
    )
