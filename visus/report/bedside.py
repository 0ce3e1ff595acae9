"""The live view of a watched program: findings as they come, one status line below them.

Knows ledger lines only. Speaks on standard error, and only where that is a terminal: the
program's own output stays what it is.
"""

from __future__ import annotations

import textwrap
import time
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from visus.ledger import Line
from visus.report import words
from visus.report.foot import Foot
from visus.report.halt import Halt
from visus.report.letter import STYLE, place
from visus.report.spoken import Spoken
from visus.report.story import tame

PAUSE = 0.25  # seconds between two drawings of the status line


class Bedside:
    """A listener for `Ledger(on=[...])`; use it as a context manager."""

    def __init__(self, console: Console, name: str, steps: int | None = None):
        self.console, self.name, self.steps = console, name, steps
        seen = console.is_terminal and not console.is_dumb_terminal
        self.foot = Foot(console.file) if seen else None
        self.halt = Halt(self._leave, self._draw)
        self.found: dict[str, Line] = {}
        self.step: Line = {}
        self.doing, self.drawn = "starting", 0.0
        self.broken: list[BaseException] = []

    def __enter__(self) -> Bedside:
        if self.foot is not None:
            self.halt.install()
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, line: Line) -> None:
        """Show one ledger line. What cannot be shown is noted in `broken`: watching goes on."""
        try:
            if self.foot is not None:
                self._show(tame(line))
        except (Exception, SystemExit) as error:
            self.broken.append(error)

    def close(self) -> None:
        """Give the terminal back."""
        self.halt.remove()
        self._leave()

    def _leave(self) -> None:
        if self.foot is not None:
            self.foot.close()

    def _show(self, line: Line) -> None:
        kind = line["kind"]
        if kind == "finding":
            self._finding(line)
        elif kind == "step":
            self.step, self.doing = line, ""
        elif kind == "watching":
            self.doing = words.text(line.get("doing"))
        elif kind == "end":
            return self.close()
        if kind != "step" or time.monotonic() - self.drawn > PAUSE:
            self._draw()
        return None

    def _finding(self, line: Line) -> None:
        if line.get("early") is not True:
            return  # the last word is the letter's
        name = words.text(line.get("id"))
        known, self.found[name] = self.found.get(name), line
        if known is None or known.get("severity") != line.get("severity"):
            told = announcement(line, self.console.width)
            self.console.print(Spoken(told), highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        if self.foot is None or self.halt.away(self.foot.stream):
            return
        if not (width := self.foot.width()):
            return
        self.drawn = time.monotonic()
        self.foot.show(self._text(self._status(), width))

    def _text(self, what: RenderableType, width: int) -> str:
        with self.console.capture() as taken:
            self.console.print(Spoken(what), width=width, no_wrap=True, overflow="ellipsis", end="")
        return taken.get().replace("\n", "")

    def _status(self) -> Text:
        said = Text(" visus ", style="bold reverse", no_wrap=True, overflow="ellipsis")
        parts = [self.doing or self._count(), self._loss(), self._findings()]
        return said.append("  " + "  ·  ".join(part for part in parts if part), style="not reverse")

    def _count(self) -> str:
        total = self.step.get("steps") or self.steps
        end = f" of {words.whole(total)}" if words.finite(total) is not None else ""
        return f"{self.name}: step {words.whole(self.step.get('step'))}{end}"

    def _loss(self) -> str:
        loss: Any = self.step.get("loss")
        return f"loss {words.plain(loss)}" if words.number(loss) is not None else ""

    def _findings(self) -> str:
        grave = [name for name, line in self.found.items() if line.get("severity") != "info"]
        if not grave:
            return "no finding so far"
        return f"{words.some(len(grave), 'finding')}: {', '.join(grave)}"


def announcement(line: Line, width: int = 80) -> Text:
    """One finding in a few lines, as it comes: severity, name, place, why."""
    severity = str(line.get("severity") or "warning")
    said = Text("visus ", style="dim")
    said.append(f"{severity} ", style=STYLE.get(severity, "bold yellow"))
    said.append(words.text(line.get("id")), style="bold not dim")
    said.append(place(line), style="not dim")
    if line.get("explanation"):
        why = textwrap.fill(words.text(line["explanation"]), max(width - 7, 20))
        said.append(textwrap.indent(f"\n{why}", " " * 6), style="not dim")
    return said
