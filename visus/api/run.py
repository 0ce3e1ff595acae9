"""A run: a folder, and what its ledger says. How a run begins and ends in the ledger."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

import visus
from visus import ledger as book
from visus import report, runs, training
from visus.errors import UsageError, VisusError
from visus.ledger import Ledger, Line


@dataclass(frozen=True)
class Run:
    """A run that `train` wrote: its folder, and what its ledger says.

    `network` is the caller's module, where one was trained: weights come from the folder, but
    the code of a module of one's own does not.
    """

    folder: Path
    network: nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def lines(self) -> list[Line]:
        """The ledger as the run counts it."""
        return book.history(book.read(self.folder))

    @property
    def metrics(self) -> dict[str, Any]:
        """The numbers the run ended with: errors as shares of 1, the test error's interval."""
        return self.result()["metrics"]

    @property
    def model(self) -> nn.Module:
        """The best model in eval mode: images (N, C, H, W) in [0, 1] to logits (N, K)."""
        return trained(self)

    def result(self) -> dict[str, Any]:
        """What `visus train --json` prints: status, metrics, findings, trials, run, report."""
        lines = self.lines
        end = book.last(lines, "end") or {"status": "unfinished", "metrics": {}}
        return {
            "status": end["status"],
            "message": end.get("message", ""),
            "metrics": end["metrics"],
            "findings": list(
                {line["id"]: bare(line) for line in book.select(lines, "finding")}.values()
            ),
            "trials": [bare(line) for line in book.select(lines, "trial")],
            "run": str(self.folder),
            "report": str(self.folder / "report.html"),
        }


def opened(run: str | Path | Run) -> Run:
    """The run of a folder, or the run itself."""
    return run if isinstance(run, Run) else Run(Path(run))


def trained(run: Run) -> training.Trained:
    """The finished model of a run, in eval mode."""
    return training.load_trained(run.folder, copy.deepcopy(run.network))


def bare(line: Line) -> Line:
    """The line without what only the ledger needs."""
    return {key: value for key, value in line.items() if key not in ("kind", "t")}


@contextmanager
def recorded(folder: Path, ledger: Ledger) -> Iterator[None]:
    """Write how the run begins and, if it fails, why; leave a report in every case."""
    ledger.write("run", version=visus.__version__, command=" ".join(sys.argv), folder=str(folder))
    try:
        yield
    except UsageError as error:
        if not _forget(folder):
            _failed(folder, ledger, error)
        raise
    except BaseException as error:
        _failed(folder, ledger, error)
        raise
    report.write(folder)


def _forget(folder: Path) -> bool:
    """Remove a run that never got as far as its data, such as one with a typo in the path."""
    ours = {book.NAME, runs.REQUEST}
    if book.last(book.read(folder), "data") or {p.name for p in folder.iterdir()} - ours:
        return False
    for name in ours:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    return True


def _failed(folder: Path, ledger: Ledger, error: BaseException) -> None:
    message = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    try:
        ledger.write("end", status="failed", message=message, metrics={})
        report.write(folder)
    except (OSError, VisusError):
        pass  # the disk may be what failed: the first error is the one to show
