"""The findings as a doctor's letter, from plain dicts. No torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

HEAD = {"error": "It cannot work so", "warning": "It works worse than it could", "info": "A remark"}


def letter(findings: Iterable[Mapping[str, Any]], *, steps: int = 0, width: int = 88) -> str:
    """The text for a terminal: each finding with place, evidence, reason and cure."""
    listed = list(findings)
    grave = [f for f in listed if f["severity"] != "info"]
    if not grave:
        head = f"Watched {steps} steps: no finding. The training looks healthy."
    else:
        first = grave[0]
        head = f"Watched {steps} steps: {len(grave)} finding{'s' * (len(grave) > 1)}. Most likely cause: {first['id']}."
    return "\n".join([head, *(_one(i + 1, f, width) for i, f in enumerate(listed))])


def _one(number: int, found: Mapping[str, Any], width: int) -> str:
    title = f"\n{number}. {found['id']} at {found['where']} (from step {found['first_step']})"
    sure = f"   {HEAD[found['severity']]}; confidence {found['confidence']:.0%}."
    why = textwrap.fill(found["explanation"], width, initial_indent="   ", subsequent_indent="   ")
    numbers = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in found["evidence"].items())
    seen = textwrap.fill(
        f"Evidence: {numbers}", width, initial_indent="   ", subsequent_indent="     "
    )
    cures = [
        textwrap.fill(f"- {r}", width, initial_indent="   ", subsequent_indent="     ")
        for r in found["remedies"]
    ]
    more = f"   More: visus explain {found['id']}"
    return "\n".join([title, sure, why, seen, "   What to do:", *cures, more])
