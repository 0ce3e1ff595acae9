"""Findings: what is wrong, where, the evidence, why, and what to do."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import evidence, words
from visus.report.blocks import code, join, lead, tag
from visus.report.section import Section, sections
from visus.report.seen import Seen
from visus.report.story import Story
from visus.report.testimony import testify

WEIGHT = {"error": 0, "warning": 1, "info": 2}


@sections.member
class Findings(Section):
    title, place, reads, of = "Findings", 10, ("finding",), ("run", "watch", "audit")

    def body(self, story: Story) -> Markup | None:
        seen = Seen(story)
        found = seen.findings()
        if not found:
            return None
        before = [line for line in found if story.treated(line)]
        now = [line for line in found if not any(line is other for other in before)]
        again = {words.text(line.get("id")) for line in now}
        before = [line for line in before if words.text(line.get("id")) not in again]
        found = now + before
        linked = any(line.get("causes") is not None for line in found)  # ordered by cause already
        if not linked:
            found.sort(key=lambda line: WEIGHT.get(str(line.get("severity")), 1))
        said = "Causes first, what follows from them below." if linked else "The gravest first."
        cards = [_card(line, seen, any(line is other for other in before)) for line in found]
        return join(lead(f"What the doctor found. {said}"), cards)


def _card(line: Line, seen: Seen, treated: bool = False) -> Markup:
    severity = str(line.get("severity") or "warning")
    kind = severity if severity in WEIGHT else "warning"
    return tag(
        "article",
        tag("h3", tag("span", severity, class_="badge"), " ", words.text(line.get("id"))),
        tag("p", _where(line), class_="note"),
        tag("p", tag("b", "Treated: not seen since the run began again.")) if treated else None,
        tag("p", explanation(line)) if line.get("explanation") else None,
        _because(line),
        testify(line, seen),
        evidence.draw(line.get("evidence")),
        remedies(line.get("remedies")),
        class_=f"finding s-{kind}",
    )


def explanation(line: Line) -> str:
    """Why, without the causes that a line of their own names."""
    said = words.text(line.get("explanation"))
    return re.sub(r" \(A consequence of [^)]*\)$", "", said) if line.get("causes") else said


def _because(line: Line) -> Markup | None:
    causes = [words.text(cause) for cause in words.listed(line.get("causes"))]
    return (
        tag("p", "A consequence of ", tag("b", ", ".join(causes)), ".", class_="note")
        if causes
        else None
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
