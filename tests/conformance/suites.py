"""The little that all borrowed suites share: a tally, a reason to skip, a strict comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class NotOurs(Exception):
    """The case asks for something visus does not offer; the message is the reason."""


class Mismatch(AssertionError):
    """A result differs from what the suite expects."""


def run_all(cases: Iterable[Any], check: Callable[[Any], None]) -> tuple[dict, list[str]]:
    """Run `check` on every case: counts for the summary, and a line for each failure."""
    passed, skipped, failures = 0, Counter(), []
    for case in cases:
        try:
            check(case)
            passed += 1
        except NotOurs as reason:
            skipped[str(reason)] += 1
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
    return {"passed": passed, "failed": len(failures), "skipped": dict(skipped)}, failures


def compare(name: str, ours: Any, expected: Any, rtol: float, atol: float) -> None:
    """Raise `Mismatch` unless shape and values agree (NaN equals NaN, as in the suites)."""
    ours, expected = np.asarray(ours), np.asarray(expected)
    if ours.shape != expected.shape:
        raise Mismatch(f"{name}: shape {ours.shape}, expected {expected.shape}")
    ours, expected = ours.astype(np.float64), expected.astype(np.float64)
    if not np.allclose(ours, expected, rtol=rtol, atol=atol, equal_nan=True):
        worst = np.nanmax(np.abs(ours - expected)) if ours.size else 0.0
        raise Mismatch(f"{name}: largest difference {worst:.3g} (rtol {rtol:g}, atol {atol:g})")
