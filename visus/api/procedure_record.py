"""What a run has on record: the stages it went through, its findings, what its checks saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visus import ledger as book
from visus.api import procedure_errors as errors
from visus.doctor.remedies import Chart
from visus.doctor.rules import finding
from visus.ledger import Ledger, Line
from visus.training.distributed import ALONE, World

CHECKS = ("baseline", "first weights", "one batch")
TOLD = {
    "stage",
    "trial",
    "finding",
    "epoch",
    "resume",
    "plan",
}  # lines that decide, told to all ranks


@dataclass
class Record:
    """The ledger of the run in `folder`, as its procedure reads and writes it.

    Of several ranks the first has the ledger; what it holds, and what else the first alone can see
    or decide, is told to the others, so that all take the same way. `world` is this rank's place.
    """

    folder: Path
    ledger: Ledger
    world: World = field(default=ALONE, kw_only=True)

    @property
    def past(self) -> list[Line]:
        """What the run's ledger says so far."""
        if self.world.size == 1:
            return book.read(self.folder)
        return self.agreed(lambda: [x for x in book.read(self.folder) if x["kind"] in TOLD])

    def agreed(self, look: Callable[[], Any]) -> Any:
        """What `look` finds on the first rank, which alone looks."""
        return self.world.agree(look() if self.world.main else None)

    def done(self, name: str) -> Line | None:
        """The newest line of a stage of this attempt, or None where it was not reached yet."""
        found = [line for line in book.select(self._attempt(), "stage") if line["name"] == name]
        return found[-1] if found else None

    def _attempt(self) -> list[Line]:
        """The lines since the run last began at step 0."""
        lines = self.past
        restarts = [n for n, line in enumerate(lines) if line.get("restart")]
        return lines[restarts[-1] :] if restarts else lines

    def stage(self, name: str, decided: str, evidence: dict[str, Any], began: float) -> None:
        """Write a step of the procedure into the ledger."""
        seconds = round(time.monotonic() - began, 3)
        self.ledger.write("stage", name=name, decided=decided, evidence=evidence, seconds=seconds)

    def reading(
        self, decided: str, symptoms: dict[str, float], evidence: dict[str, Any], step: int, chart: Chart
    ) -> None:  # fmt: skip
        """Findings that the errors of the epochs speak of, with what may help here."""
        for name, sure in symptoms.items():
            cures = errors.cures(name, chart)
            numbers = {k: v for k, v in evidence.items() if isinstance(v, float)}
            self.findings([{"id": name, **finding("warning", sure, "network", step, decided, cures, **numbers)}])  # fmt: skip

    def findings(self, found: list[dict[str, Any]]) -> None:
        """Write findings that are not on record yet in this attempt."""
        known = {line["id"] for line in book.select(self._attempt(), "finding")}
        for item in found:
            if item["id"] not in known:
                self.ledger.write("finding", **item)

    def checks(self) -> dict[str, Any]:
        """What the checks before the first step found."""
        names = ("baseline", "first weights", "one batch")
        lines = {
            line["name"]: line for line in book.select(self.past, "stage") if line["name"] in names
        }
        return {
            name: {"decided": line["decided"], **line["evidence"]} for name, line in lines.items()
        }
