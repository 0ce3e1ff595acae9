"""Rules turn signals into findings. One file a rule; its docstring is the user's page.

    @rule(asks=("updates",))                     # the probes whose signals it reads
    def gradient_not_zeroed(s: Signals) -> Finding | None: ...

The name of the function is the id of the finding. A rule is a pure function of signals and
knows neither torch nor the program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from visus.family import Family

rules = Family("rule", package=__name__)

Finding = dict[str, Any]


def rule(
    *, asks: tuple[str, ...], because: tuple[str, ...] = (), unless: tuple[str, ...] = ()
) -> Callable:
    """Register a rule. `asks`: probes it reads; `because`: ids that, if found, are its cause;
    `unless`: ids that, if found, explain what it saw: then it is not said."""

    def register(function: Callable) -> Callable:
        function.asks, function.because, function.unless = asks, because, unless  # type: ignore[attr-defined]
        return rules.member(function)

    return register


def finding(
    severity: str, confidence: float, where: str, step: int, explanation: str,
    remedies: list[str], **evidence: float,
) -> Finding:  # fmt: skip
    """One finding as the command line prints it; `evidence` are numbers by name."""
    return {
        "severity": severity, "confidence": round(min(max(confidence, 0.0), 1.0), 2),
        "where": where, "first_step": int(step),
        "evidence": {name: float(f"{float(value):.6g}") for name, value in evidence.items()},
        "explanation": explanation, "remedies": remedies,
    }  # fmt: skip
