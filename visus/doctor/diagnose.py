"""From signals to findings: run the rules, put causes before their consequences. No torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable

from visus.doctor.rules import Finding, rules
from visus.doctor.signals import Signals
from visus.errors import UsageError, unknown

WEIGHT = {"error": 0, "warning": 1, "info": 2}


def asked(names: Iterable[str] | None = None) -> set[str]:
    """The probes that the rules `names` (all by default) read."""
    chosen = rules if names is None else {name: rules[name] for name in names}
    return {probe for make in chosen.values() for probe in make.asks}  # type: ignore[attr-defined]


def diagnose(s: Signals, names: Iterable[str] | None = None) -> tuple[list[Finding], list[str]]:
    """Findings, causes first, and the errors of rules that failed (which stop no other rule)."""
    found: dict[str, Finding] = {}
    errors: list[str] = []
    for name in names if names is not None else rules:
        try:
            result = rules[name](s)
        except Exception as error:
            errors.append(f"rule {name}: {type(error).__name__}: {error}"[:200])
            continue
        if result is not None:
            found[name] = {"id": name, **_clean(result)}
    explained = [name for name in found if _stronger(rules[name].unless, found)]  # type: ignore[attr-defined]
    for name in explained:
        del found[name]
    return _order(found), errors


def _clean(result: Finding) -> Finding:
    numbers = {k: v for k, v in result["evidence"].items() if math.isfinite(v)}
    return {**result, "evidence": numbers}


def _order(found: dict[str, Finding]) -> list[Finding]:
    """Findings without a found cause first (errors, then the surest); the others after theirs."""
    causes = {name: _causes(name, found) for name in found}
    for name, why in causes.items():
        found[name]["causes"] = why
        if why:
            found[name]["explanation"] += f" (A consequence of {why[0]}.)"

    def depth(name: str, seen: tuple[str, ...] = ()) -> int:
        return max((1 + depth(c, (*seen, name)) for c in causes[name] if c not in seen), default=0)

    def key(name: str) -> tuple:
        item = found[name]
        info = item["severity"] == "info"
        return info, depth(name), WEIGHT[item["severity"]], -item["confidence"]

    return [found[name] for name in sorted(found, key=key)]


def _causes(name: str, found: dict[str, Finding]) -> list[str]:
    return _stronger(rules[name].because, found)  # type: ignore[attr-defined]


def _stronger(names: tuple[str, ...], found: dict[str, Finding]) -> list[str]:
    return [c for c in names if c in found and found[c]["severity"] != "info"]


def explain(name: str) -> str:
    """The page of a finding: what, why, how, cure, when the rule is wrong, source."""
    if name not in rules:
        raise UsageError(unknown("finding", name, rules))
    page = inspect.getdoc(rules[name]) or ""
    return f"{name}\n{'=' * len(name)}\n{page}\n"
