"""The bad division, treated before the first step: copies and groups on one side, classes in shares.

No fork can prove this remedy: it changes the very images that judge. What proves it is counted:
copies and groups across the splits before and after, and whether classes come in like shares.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from visus import data as images
from visus.api.audit_desk import PARTS, Audit
from visus.data import audit as parts
from visus.errors import DataError
from visus.ledger import Line

LEAK, DRIFT = "split-leak", "split-unrepresentative"
SURE = 1e-3  # p-value below which classes come in other shares (that of the rule)


@dataclass(frozen=True)
class Division:
    """How well a split divides: images with a tie across it, p that classes come in like shares."""

    across: int
    p: float

    def worse(self, other: Division) -> bool:
        """Whether `other` mends what is wrong here, and spoils nothing."""
        leaks = other.across < self.across or (other.across == self.across == 0)
        return leaks and (self.p >= SURE or other.p > self.p) and other.p >= min(SURE, self.p)


def divided_anew(
    dataset: images.Dataset, found: Audit, again: Callable[..., images.Dataset],
    ask: Callable[[Line], bool] | None = None,
) -> tuple[images.Dataset | None, str, dict[str, Any]] | None:  # fmt: skip
    """The data set divided again, where that is proved and agreed to; what was decided, the evidence.

    None where the audit does not call for it. `again(pairs, anew, validation)` divides, and leaves
    nothing in the run's folder.
    """
    called = {f["id"] for f in found.findings if f["severity"] != "info"} & {LEAK, DRIFT}
    if not called and not dataset.split.leaks:
        return None
    began, before = time.monotonic(), measured(dataset.split, found.pairs)
    redraw = ("validation",) if before.p < SURE else ()
    try:
        other = again(found.pairs, redraw, _share(dataset) if redraw else None)
    except DataError as error:
        return None, f"the split stays: {str(error).split(';')[0]}", {}
    after = measured(other.split, found.pairs)
    evidence = _evidence(dataset.split, other.split, before, after)
    if not before.worse(after):
        return None, "the split stays: divided anew it is no better", evidence
    said = _said(evidence, redraw)
    if ask and not ask({"kind": "trial", "remedy": "re-split", "edits": [], "said": said}):
        return None, f"the split stays, declined by the user: {said}", evidence
    seconds, evidence = time.monotonic() - began, evidence | {"sha256": other.split.sha256}
    return other, f"{said}; before the first step: {seconds:.1f} s and no step were lost", evidence


def measured(split: images.Split, pairs: list[tuple[str, str]]) -> Division:
    """Of a split: held-out images tied to one of an earlier part, and the p-value of the class shares."""
    part = {name: k for k, p in enumerate(PARTS) for name, _, _ in split.rows[p]}
    torn = {max(pair, key=lambda n: part[n]) for pair in pairs
            if all(n in part for n in pair) and part[pair[0]] != part[pair[1]]}  # fmt: skip
    counts = split.counts()
    train, held = (torch.tensor([*counts[p].values()], dtype=torch.float64) for p in PARTS[:2])
    return Division(max(len(torn), split.leaks), parts.shares_differ(train, held))


def _share(dataset: images.Dataset) -> float:
    """The share of validation that the user chose."""
    return len(dataset.validation) / (len(dataset.train) + len(dataset.validation))


def _evidence(old: images.Split, new: images.Split, before: Division, after: Division) -> dict[str, Any]:  # fmt: skip
    was, now = _places(old), _places(new)
    gone = Counter(part for name, part in was.items() if name not in now)
    moved = sum(now.get(name, part) != part for name, part in was.items())
    return {
        "across_before": before.across, "across_after": after.across, "class_p_before": before.p,
        "class_p_after": after.p, "moved": moved, "left_out": sum(gone.values()),
        "test_untouched": old.rows["test"] == new.rows["test"],
        "steps_spent": 0.0,
    }  # fmt: skip


def _places(split: images.Split) -> dict[str, str]:
    return {name: part for part in PARTS for name, _, _ in split.rows[part]}


def _said(seen: dict[str, Any], redraw: tuple[str, ...]) -> str:
    """What was changed, in a line."""
    told = []
    if seen["across_before"]:
        told.append(f"images with a copy or their group in an earlier split: {seen['across_before']}, now {seen['across_after']}")  # fmt: skip
    if redraw:
        told.append("validation is drawn from train and validation, each class in its share")
    told += [f"{seen['moved']} moved"] if seen["moved"] else []
    told += [f"{seen['left_out']} copies left out"] if seen["left_out"] else []
    test = "the test set is as it was" if seen["test_untouched"] else "test was drawn anew too"
    return f"divided anew: {', '.join(told)}; {test}"
