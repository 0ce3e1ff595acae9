"""The terminal view of a run: live where a person looks, plain lines where a program does.

`view(console)` gives a listener for a ledger's lines; `summary(lines)` is what is said at the
end. Both know ledger lines only.
"""

from __future__ import annotations

import atexit

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from visus.ledger import Line
from visus.report import events, progress, words
from visus.report.spoken import Spoken
from visus.report.story import tame
from visus.report.summary import summary as summary

HIDDEN = frozenset({"environment", "recipe", "checkpoint", "threads", "run", "end"})


def view(console: Console | None = None) -> View:
    """A listener for `Ledger(on=[...])`: live progress in a terminal, else a line an event.

    Use it as a context manager, or call `close()`: the cursor comes back either way, also
    after Ctrl-C and at the end of the process.
    """
    console = console or Console(highlight=False)
    return (
        LiveView(console) if console.is_terminal and not console.is_dumb_terminal else View(console)
    )


class View:
    """Plain lines: one an epoch and an event, whatever their length."""

    def __init__(self, console: Console):
        self.console = console
        self.broken: list[BaseException] = []

    def __call__(self, line: Line) -> None:
        """Show one ledger line. What cannot be shown is noted in `broken`: training goes on."""
        try:
            self.show(tame(line))
        except (Exception, SystemExit) as error:  # rich leaves at a closed pipe; training goes on
            self.broken.append(error)

    def show(self, line: Line) -> None:
        if line["kind"] == "epoch":
            self.say(_epoch(line))
        elif _worth_a_line(line) and (said := events.say(line)):
            self.say(said)

    def say(self, what: str | Text | Group) -> None:
        what = Text(what) if isinstance(what, str) else what
        self.console.print(Spoken(what), soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Give the terminal back."""

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _worth_a_line(line: Line) -> bool:
    # A look is counted in one line before it is taken; what was seen follows in another.
    bare = line["kind"] == "look" and line.get("error") is None
    return line["kind"] not in HIDDEN and not bare


def _epoch(line: Line) -> str:
    loss = [words.plain(line[key]) for key in ("train_loss", "validation_loss") if key in line]
    rest = [
        f"loss {' / '.join(loss)}" if loss else "",
        f"rate {words.plain(line['rate'])}" if "rate" in line else "",
        words.seconds(line["seconds"]) if "seconds" in line else "",
    ]
    return ", ".join([events.say(line) or "", *(part for part in rest if part)])


class LiveView(View):
    """A live line under the finished epochs. Drawn when a line comes: no thread, no timer."""

    def __init__(self, console: Console):
        super().__init__(console)
        self._progress, self._live, self._headed = progress.Progress(), None, False

    def show(self, line: Line) -> None:
        if line["kind"] == "end":
            self.close()
        elif line["kind"] == "epoch":
            self._open()
            self._finish(line)
        else:
            self._open()
            super().show(line)
        self._update(line)

    def _open(self) -> None:
        if self._live is None:
            self._live = Live(
                Spoken(self._progress), console=self.console, auto_refresh=False, transient=True
            )
            atexit.register(self.close)  # Ctrl-C that nobody catches still shows the cursor again
            self._live.start()

    def _finish(self, line: Line) -> None:
        self._progress.epoch = line
        if not self._headed:
            self._headed = True
            self.console.print(Spoken(progress.heading(self.console.width)))
        self.console.print(Spoken(progress.row(progress.cells(line), self.console.width)))

    def _update(self, line: Line) -> None:
        if line["kind"] == "step":
            self._progress.step = line
        elif line["kind"] in ("stop", "look"):
            self._progress.step = {}
        self._progress.doing = _doing(line) or self._progress.doing
        if self._live is not None:
            self._live.refresh()

    def say(self, what: str | Text | Group) -> None:
        what = Text(what, style="dim") if isinstance(what, str) else what
        self.console.print(Spoken(what), highlight=False)

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
            atexit.unregister(self.close)


def _doing(line: Line) -> str | None:
    after = {"run": "reading the data", "data": "building the network", "model": "getting ready",
             "threads": "getting ready", "range-test": "training", "plan": "training",
             "stop": "judging", "look": "judging"}  # fmt: skip
    return after.get(line["kind"])
