"""What a ledger tells, read once: the questions that several views ask of the same lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from visus.ledger import Line, history, last, select
from visus.report.lettering import clean
from visus.report.words import finite, number

_ALIVE = ("resume", "step", "epoch")


def usable(line: Line) -> bool:
    """Whether the line can be read at all; a resume that names no step cannot take back any."""
    return line["kind"] != "resume" or finite(line.get("step")) is not None


def tame(line: Line) -> Line:
    """A line without hostile characters, its `step` a number where it has one."""
    line = {**clean(line), "kind": str(line["kind"])}
    if "step" in line:
        line["step"] = number(line["step"]) or 0
    return line


class Story:
    """The lines of one run, what a resume took back left out."""

    def __init__(self, lines: Iterable[Line]):
        self.every = [tame(line) for line in lines if usable(line)]
        self.lines = history(self.every)

    def all(self, kind: str) -> list[Line]:
        """The lines of one kind, in order."""
        return select(self.lines, kind)

    def last(self, kind: str) -> Line:
        """The newest line of one kind; an empty one where there is none."""
        return last(self.lines, kind) or {}

    @property
    def subject(self) -> str:
        """What the ledger is about: "watch" for a program under the doctor, "audit", else "run"."""
        kinds = {line["kind"] for line in self.every}
        if "run" in kinds:
            return "run"
        return next((kind for kind in ("watch", "audit") if kind in kinds), "run")

    def treated(self, line: Line) -> bool:
        """Whether the run began again, treated, after this line."""
        again = [n for n, other in enumerate(self.every) if other.get("restart")]
        return bool(again) and any(other is line for other in self.every[: again[-1]])

    @property
    def end(self) -> Line:
        """The `end` line that still holds: none after it went on."""
        for line in reversed(self.lines):
            if line["kind"] in _ALIVE:
                return {}
            if line["kind"] == "end":
                return line
        return {}

    @property
    def status(self) -> str:
        """done, stopped or failed; "open" where no end is recorded (running, or killed)."""
        return str(self.end.get("status", "open"))

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        named = self.last("data").get("classes") or self.last("confusion").get("classes")
        return [str(name) for name in named] if isinstance(named, list) else []

    @property
    def axis(self) -> str:
        """What an error is a share of, in this run's task."""
        return str(self.last("task").get("axis") or "share of images misjudged")

    @property
    def judged(self) -> bool:
        """Whether an error is a share of images that are misjudged, as where images have classes."""
        return self.axis == "share of images misjudged"

    def label(self, value: Any) -> str:
        """The class name for a label that is a name already, or an index."""
        names = self.classes
        known = (
            isinstance(value, int) and not isinstance(value, bool) and value in range(len(names))
        )
        return names[value] if known else str(value)

    @property
    def looks(self) -> list[Line]:
        """The looks at test, one a number: what was seen may stand in a later line of its own."""
        found: dict[str, Line] = {}
        for n, line in enumerate(self.all("look")):
            key = str(line.get("number") or f"line {n}")
            known = {name: value for name, value in line.items() if value is not None}
            found[key] = found.get(key, {}) | known
        return list(found.values())

    @property
    def test(self) -> Line:
        """The newest look that saw an error; else the test numbers the run ended with."""
        seen = [line for line in self.looks if finite(line.get("error")) is not None]
        if seen:
            return seen[-1]
        metrics = self.last("end").get("metrics")
        told = metrics if isinstance(metrics, dict) else {}
        prefix = "test_"
        return {k.removeprefix(prefix): v for k, v in told.items() if k.startswith(prefix)}

    @property
    def seconds(self) -> float | None:
        """Seconds at work: gaps before a resumption and after the end do not count."""
        total, before = 0.0, None
        for line in self.every:
            if before is not None and line["kind"] not in ("run", "resume"):
                total += 0.0 if before["kind"] == "end" else _gap(before, line)
            before = line
        return total if len(self.every) > 1 else None

    @property
    def best(self) -> Line:
        """The newest epoch marked best; else the one with the least validation error."""
        epochs = self.all("epoch")
        marked = [line for line in epochs if line.get("best") is True]
        known = [line for line in epochs if finite(line.get("validation_error")) is not None]
        if marked:
            return marked[-1]
        return min(known, key=lambda line: float(line["validation_error"]), default={})

    @property
    def outcome(self) -> Line:
        """The best epoch as the model went out: a kept trial without edits changed it afterwards.

        Then `validation_error` is that of the treated model, `treated` says by what, and the
        training error, which nobody measured again, is gone.
        """
        best = self.best
        after = self.lines[self.lines.index(best) :] if best else []
        for line in reversed([line for line in after if line["kind"] == "trial"]):
            error = finite(line.get("treated_error"))
            if line.get("kept") is True and not line.get("edits") and error is not None:
                known = {k: v for k, v in best.items() if k != "train_error"}
                return known | {"validation_error": error, "treated": str(line.get("title") or "")}
        return best

    @property
    def item(self) -> str:
        """What is judged, one of them: an image, or a pair of images."""
        return "pair" if isinstance(self.last("split").get("pairs"), dict) else "image"

    def counts(self, split: str) -> dict[str, int]:
        """Images per class in one split; {} where the ledger has no such table."""
        table = self.last("data").get("counts")
        found = table.get(split) if isinstance(table, dict) else None
        if not isinstance(found, dict):
            return {}
        return {name: round(n) for name, value in found.items() if (n := finite(value)) is not None}

    def size(self, split: str) -> int | None:
        """Images in one split, from the counts or from the split's sizes."""
        counts, sizes = self.counts(split), self.last("split").get("sizes")
        if counts:
            return sum(counts.values())
        known = finite(sizes.get(split)) if isinstance(sizes, dict) else None
        return None if known is None else round(known)


def _gap(before: Line, after: Line) -> float:
    first, second = finite(before.get("t")), finite(after.get("t"))
    return max(0.0, second - first) if first is not None and second is not None else 0.0
