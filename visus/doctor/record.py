"""What a watch writes down for the report and the live view: see docs/doctor.md for the lines.

Written while the program runs: steps (at most two a second), histograms, landscapes, early findings. The
signals follow in batches, most of them at the end: a line costs more than a number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.5  # seconds between two step lines
FIRST = 16  # the step of the first early judgement; the others come when the steps have doubled
BATCH = 20.0  # seconds between two batches of signals
LEFT_OUT = {("program", "time"), ("loss", "count"), ("loss", "data"), ("loss", "total")}


class Record:
    """Writes the lines of one host to `ledger.write`; the host calls `tick` at every step."""

    def __init__(
        self, host: Any, write: Callable[..., Any], judge: Callable[[], list[dict]] = list
    ):
        self.host, self.write, self.judge = host, write, judge
        self.judged, self.likely, self.told = FIRST // 2, set(), set()
        self.begin = self.shown = self.batch = time.perf_counter()
        self.written: dict[tuple[str, str], int] = {}
        self.layers = 0

    def restart(self) -> None:
        """The signals so far are written; those of another stage begin anew."""
        self.flush()
        self.written, self.layers = {}, 0

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """One line."""
        self.write(kind, **fields)

    def tick(self, losses: list[Any]) -> None:
        """A step was taken: show it if the last one is half a second old."""
        now = time.perf_counter()
        if now - self.shown < PAUSE:
            return
        self.shown = now
        host, s = self.host, self.host.signals
        numbers = [float(value) for value in losses]
        self.write("step", step=host.step, steps=host.max_steps, seconds=round(now - self.begin, 2),
                   loss=sum(numbers) / len(numbers) if numbers else None,
                   rate=s.last("optimizer", "rate"))  # fmt: skip
        if now - self.batch > BATCH:
            self.batch = now
            self.flush()
        if host.step >= 2 * self.judged:
            self.judged = host.step
            self.early()

    def early(self) -> None:
        """Findings while the program runs: those that two judgements in a row agree on."""
        found = {line["id"]: line for line in self.judge() if line["severity"] != "info"}
        for name, line in found.items():
            if name in self.likely and name not in self.told:
                self.told.add(name)
                self.write("finding", **line, early=True)
        self.likely = set(found)

    def flush(self) -> None:
        """Write the layers and every point of every signal that is not yet written."""
        self.host.settle()
        s = self.host.signals
        if len(s.layers) > self.layers:
            self.layers = len(s.layers)
            keys = ("place", "kind", "act", "norm", "units", "fan_in")
            self.write("layers", layers=[{k: layer.get(k) for k in keys} for layer in s.layers])
        for key in s.quantities():
            points, done = s.series(*key), self.written.get(key, 0)
            if key in LEFT_OUT or len(points) <= done:
                continue
            self.written[key] = len(points)
            new = thin(points[done:])
            self.write("signal", place=key[0], quantity=key[1],
                       steps=[step for step, _ in new], values=[value for _, value in new])  # fmt: skip


def thin(points: list, most: int = 500) -> list:
    """At most about `most` of the points, evenly, the first and the last among them."""
    if len(points) <= most:
        return points
    gap = (len(points) - 1) / (most - 1)
    return [points[round(i * gap)] for i in range(most)]
