"""The terminal view of a run: live where a person looks, plain lines where a program does.

`view(console)` gives a listener for a ledger's lines; `summary(lines)` is what is said at the
end. Both know ledger lines only.
"""

from __future__ import annotations

import atexit
import shlex
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from visus.ledger import Line
from visus.report import events, progress, words
from visus.report.letter import letter
from visus.report.page import NAME
from visus.report.spoken import Spoken
from visus.report.story import Story, tame

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
        elif line["kind"] not in HIDDEN and (said := events.say(line)):
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


def summary(lines: Iterable[Line]) -> Spoken:
    """The end of a run, to print: the error with its interval, findings, files, what to do next.

    `console.print(summary(lines), soft_wrap=True)` keeps long paths whole in a pipe.
    """
    lines = list(lines)
    story, found = Story(lines), letter(lines)
    said = [_headline(story), _validation(story), _ending(story)]
    texts = [Text(text, style="" if n else "bold") for n, text in enumerate(said) if text]
    parts = [*texts, *([Text(), found] if found is not None else []), *_files(story)]
    return Spoken(Group(*parts))


def _headline(story: Story) -> str:
    look, looks = story.test, len(story.looks)
    error = words.finite(look.get("error"))
    if error is None:
        return "No look at test was taken: there is no test error."
    bounds = words.interval(look.get("interval"))
    said = f" (95 % interval {bounds})" if bounds else ""
    n = f" on {words.some(look['n'], 'image')}" if words.finite(look.get("n")) is not None else ""
    return (
        f"Test error {words.percent(error)}{said}{n}; {words.some(looks, 'look')} at test so far."
    )


def _validation(story: Story) -> str:
    best = story.best
    if not best:
        return ""
    return f"Best validation error {words.percent(best.get('validation_error'))} at epoch {words.text(best.get('epoch'))}."


def _ending(story: Story) -> str:
    stop, end, took = story.last("stop"), story.end, words.seconds(story.seconds)
    reason = events.why(stop["reason"]) if stop.get("reason") is not None else ""
    if story.status == "failed":
        return f"It failed after {took}: {words.text(end.get('message'))}"
    after = f" after {took}" if took != words.NONE else ""
    return f"Stopped{after}: {reason}." if reason else f"At work for {took}." if after else ""


def _files(story: Story) -> list[Text]:
    folder = story.last("run").get("folder")
    if not isinstance(folder, str):
        return []
    quoted = shlex.quote(folder)
    pairs = [("run", folder), ("report", str(Path(folder) / NAME))]
    if story.status == "done":
        pairs += [
            ("look", f"visus report {quoted} --open"),
            ("use", f"visus predict {quoted} IMAGE..."),
        ]
    elif story.all("checkpoint"):
        pairs.append(("go on", f"visus train --resume {quoted}"))
    rows = [Text(f"{name:>8}  ", style="dim").append(said, style="not dim") for name, said in pairs]
    return [Text(), *rows]
