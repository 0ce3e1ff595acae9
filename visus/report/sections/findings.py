"""Findings: what is wrong, where, the evidence, why, and what to do."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import evidence, words
from visus.report.blocks import code, join, lead, tag
from visus.report.section import Section, sections
from visus.report.story import Story

WEIGHT = {"error": 0, "warning": 1, "info": 2}


@sections.member
class Findings(Section):
    title, place, reads = "Findings", 10, ("finding",)

    def body(self, story: Story) -> Markup | None:
        found = story.all("finding")
        if not found:
            return None
        found.sort(key=lambda line: WEIGHT.get(str(line.get("severity")), 1))
        return join(
            lead("What the doctor found, the gravest first."), [_card(line) for line in found]
        )


def _card(line: Line) -> Markup:
    severity = str(line.get("severity") or "warning")
    kind = severity if severity in WEIGHT else "warning"
    return tag(
        "article",
        tag("h3", tag("span", severity, class_="badge"), " ", words.text(line.get("id"))),
        tag("p", _where(line), class_="note"),
        tag("p", line["explanation"]) if line.get("explanation") else None,
        evidence.draw(line.get("evidence")),
        remedies(line.get("remedies")),
        class_=f"finding s-{kind}",
    )


def _where(line: Line) -> str:
    step, sure = words.finite(line.get("first_step")), words.finite(line.get("confidence"))
    parts = [
        f"at {words.text(line['where'])}" if line.get("where") else "",
        f"since step {words.whole(step)}" if step is not None else "",
        f"confidence {words.percent(sure)}" if sure is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def remedies(value: Any) -> Markup | None:
    """What to do: `key=value` edits as code, sentences as they are."""
    given = value if isinstance(value, list) else [value] if value else []
    items = [tag("li", _remedy(item)) for item in given]
    return tag("div", tag("h4", "What to do"), tag("ul", items)) if items else None


def _remedy(item: Any) -> Any:
    said = words.text(item)
    return code(said) if "=" in said and " " not in said.strip() else said
