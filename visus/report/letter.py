"""Findings as a doctor's letter: what, where, the evidence, why, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from visus.ledger import Line
from visus.report import words
from visus.report.evidence import paired
from visus.report.story import Story

STYLE = {"error": "bold red", "warning": "bold yellow", "info": "bold green"}
WEIGHT = {"error": 0, "warning": 1, "info": 2}
MOST_NUMBERS = 6
MOST_REMEDIES = 3  # the likeliest come first; the report has them all


class Indented:
    """Text two columns in: folded where a terminal shows it, whole lines in a pipe."""

    def __init__(self, text: Text):
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = max(options.max_width - 2, 20)
        rows = self.text.wrap(console, wide) if console.is_terminal else [self.text]
        for row in rows:
            yield Text("  ").append_text(row)


def gravity(line: Line) -> int:
    """For sorting: errors before warnings before remarks."""
    return WEIGHT.get(str(line.get("severity")), 1)


def letter(lines: Iterable[Line]) -> Group | None:
    """All findings, the gravest first; None where there are none."""
    found = sorted(Story(lines).all("finding"), key=gravity)
    if not found:
        return None
    head = Text(f"The doctor found {words.some(len(found), 'thing')}:", style="bold")
    return Group(head, *(finding(line) for line in found))


def finding(line: Line) -> Group:
    """One finding as a paragraph of the letter."""
    severity = str(line.get("severity") or "warning")
    head = Text(f"{severity} ", style=STYLE.get(severity, "bold yellow"))
    head.append(words.text(line.get("id")), style="bold")
    head.append(place(line), style="not bold default")
    return Group(Text(), head, *(Indented(text) for text in _told(line)))


def _told(line: Line) -> list[Text]:
    given = line.get("remedies")
    remedies = given if isinstance(given, list) else [given] if given else []
    more = len(remedies) - MOST_REMEDIES
    said = [
        ("", words.text(line["explanation"]) if line.get("explanation") else ""),
        ("evidence: ", numbers(line.get("evidence"))),
        *(("to do: ", words.text(item)) for item in remedies[:MOST_REMEDIES]),
        (
            "",
            f"and {words.some(more, 'more remedy', 'more remedies')} in the report"
            if more > 0
            else "",
        ),
    ]
    return [Text(name, style="dim").append(text, style="not dim") for name, text in said if text]


def place(line: Line) -> str:
    """Where, since when and how surely: " at conv3, since step 40, confidence 97 %"."""
    step, sure = words.finite(line.get("first_step")), words.finite(line.get("confidence"))
    said = [
        f"at {words.text(line['where'])}" if line.get("where") else "",
        f"since step {words.whole(step)}" if step is not None else "",
        f"confidence {words.percent(sure)}" if sure is not None else "",
    ]
    return " " + ", ".join(part for part in said if part)


def numbers(evidence: Any) -> str:
    """The numbers of the evidence in one line; curves and images are for the report."""
    if not isinstance(evidence, dict):
        return ""
    said = [
        f"{name.replace('_', ' ')} {text}"
        for name, item in paired(evidence).items()
        if (text := _number(item))
    ]
    return ", ".join(said[:MOST_NUMBERS])


def _number(item: Any) -> str:
    if isinstance(item, dict) and {"value", "threshold"} <= item.keys():
        return f"{words.plain(item['value'])} (threshold {words.plain(item['threshold'])})"
    return words.plain(item) if words.number(item) is not None else ""
