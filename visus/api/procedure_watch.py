"""The doctor at the first steps: the only place where the loop and the doctor's probes meet.

What it finds decides about treatments, so it must be the same whenever the run is repeated or
resumed: it looks at fixed steps, never by the clock, and its experiments are left to the trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from visus.doctor.diagnose import asked, diagnose
from visus.doctor.host import Host

LEFT_OUT = {"trials", "timing", "views"}  # experiments at the end, and what the clock says


class Watch:
    """Signals of the steps inside `watching()`; `findings()` are the doctor's, causes first."""

    def __init__(self) -> None:
        self.host = Host(asked() - LEFT_OUT, share=0.0)
        self.losses: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Everything inside is seen."""
        self.host.start()
        try:
            yield
        finally:
            self.host.stop()

    def findings(self) -> list[dict[str, Any]]:
        """What the rules say of these steps."""
        self.host.finish()
        found, _ = diagnose(self.host.signals)
        return found


def call(
    found: list[dict[str, Any]], losses: list[float], checks: dict[str, Any], broken: str, least: float = 0.0
) -> tuple[dict[str, float], bool]:  # fmt: skip
    """Confidence of each finding that calls for a trial, and whether the training is sick at all.

    Findings that are remarks do not count. A training whose loss did not fall at all, or that
    cannot learn one batch by heart, or that broke, is sick: then weaker hints are tried too.
    `least` is the loss below which nobody comes.
    """
    sure = {f["id"]: f["confidence"] for f in found if f["severity"] != "info"}
    weights = str(checks.get("first weights", {}).get("decided", ""))
    for name in ("init-too-small", "init-too-large"):
        if weights.startswith(name):
            sure[name] = max(sure.get(name, 0.0), 0.6)
    heart = "cannot be learned" in str(checks.get("one batch", {}).get("decided", ""))
    stuck = not fell(losses, checks.get("baseline", {}).get("chance_loss"), least)
    if broken:
        sure["loss-not-finite"] = 0.95
    sick = bool(broken) or (heart and stuck)
    if sick:
        for name in ("learning-rate-too-large", "learning-rate-too-small"):
            sure.setdefault(name, 0.3)
    return sure, sick


def fell(losses: list[float], chance: float | None, least: float = 0.0) -> bool:
    """Whether the loss fell over these steps: its last quarter is lower than its first by 3 %.

    A loss that began above chance level has learned nothing when it comes down to it. All is
    measured from `least`, the loss below which nobody comes.
    """
    losses = [loss - least for loss in losses]
    chance = chance - least if chance is not None and chance > least else None
    part = max(3, len(losses) // 4)
    first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
    first = min(first, chance) if chance is not None else first
    return last < 0.97 * first or (chance is not None and last < 0.8 * chance)
