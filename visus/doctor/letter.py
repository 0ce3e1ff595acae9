"""The findings as a doctor's letter, from plain dicts. No torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

FEW = 20  # steps below which silence proves nothing
HEAD = {"error": "It cannot work so", "warning": "It works worse than it could", "info": "A remark"}


def letter(
    findings: Iterable[Mapping[str, Any]], *, steps: int = 0, width: int = 88, error: str | None = None,
) -> str:  # fmt: skip
    """The text for a terminal: each finding with place, evidence, reason and cure.

    `error` is one line on how the program failed, where it did.
    """
    listed = list(findings)
    heads = [f"The program ended early: {error}"] if error else []
    heads.append(_head([f for f in listed if f["severity"] != "info"], steps, bool(error)))
    return "\n".join([*heads, *(_one(i + 1, f, width) for i, f in enumerate(listed))])


def _head(grave: list[Mapping[str, Any]], steps: int, failed: bool) -> str:
    watched = f"Watched {steps} step{'s' * (steps != 1)}"
    if grave:
        count = f"{len(grave)} finding{'s' * (len(grave) > 1)}"
        return f"{watched}: {count}. Most likely cause: {grave[0]['id']}."
    if not steps:
        return "No torch optimizer stepped in this process: there was no training to watch."
    if failed or steps < FEW:
        return f"{watched}: no finding, and too few steps to call it healthy."
    return f"{watched}: no finding. The training looks healthy."


def _one(number: int, found: Mapping[str, Any], width: int) -> str:
    title = f"\n{number}. {found['id']} at {found['where']} (from step {found['first_step']})"
    sure = f"   {HEAD[found['severity']]}; confidence {found['confidence']:.0%}."
    why = textwrap.fill(found["explanation"], width, initial_indent="   ", subsequent_indent="   ")
    numbers = ", ".join(
        f"{k.replace('_', ' ')} {v:.4g}" for k, v in found["evidence"].items()
        if isinstance(v, (int, float))  # curves and images are for the report
    )  # fmt: skip
    seen = textwrap.fill(
        f"Evidence: {numbers}", width, initial_indent="   ", subsequent_indent="     "
    )
    cures = [
        textwrap.fill(f"- {r}", width, initial_indent="   ", subsequent_indent="     ")
        for r in found["remedies"]
    ]
    more = f"   More: visus explain {found['id']}"
    return "\n".join([title, sure, why, seen, "   What to do:", *cures, more])
