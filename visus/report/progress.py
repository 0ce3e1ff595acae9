"""The live line of a training and its table of epochs, for any width from 40 columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from visus.ledger import Line
from visus.report import words


@dataclass(frozen=True)
class Column:
    """A column of the epoch table; it is left out below `least` terminal columns."""

    name: str
    width: int
    least: int = 0
    style: str = ""


COLUMNS = (
    Column("epoch", 8),
    Column("train error", 13, style="blue"),
    Column("validation error", 18, style="bold"),
    Column("loss", 9, 56),
    Column("val loss", 10, 84),
    Column("rate", 10, 94),
    Column("time", 12, 74),
    Column("", 7, 40, style="green"),
)


def cells(line: Line) -> list[str]:
    """The values of `COLUMNS` for one epoch."""
    return [
        _of(line, "epoch", "epochs"),
        words.percent(line.get("train_error")),
        words.percent(line.get("validation_error")),
        words.plain(line.get("train_loss")),
        words.plain(line.get("validation_loss")),
        words.plain(line.get("rate")),
        words.seconds(line.get("seconds")),
        "  best" if line.get("best") is True else "",
    ]


def _of(line: Line, part: str, whole: str) -> str:
    total = f"/{words.text(line[whole])}" if line.get(whole) is not None else ""
    return f"{words.text(line.get(part))}{total}"


def row(values: list[str], width: int, *, head: bool = False) -> Text:
    """One row of the epoch table, aligned with those above it."""
    made = Text(no_wrap=True, overflow="crop")
    for column, value in zip(COLUMNS, values, strict=True):
        if width >= column.least:
            right = value.rjust(column.width) if column.name else value
            made.append(right, style="dim" if head else column.style)
    return made


def heading(width: int) -> Text:
    """The head of the epoch table; errors are shares of images misjudged."""
    return row([column.name for column in COLUMNS], width, head=True)


@dataclass
class Progress:
    """What the live line shows: the newest step and the newest epoch."""

    step: Line = field(default_factory=dict)
    epoch: Line = field(default_factory=dict)
    doing: str = "starting"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield (
            Text(f" {self.doing}", style="dim", no_wrap=True, overflow="ellipsis")
            if not self.step
            else self._bar(width)
        )
        if self.step:
            yield Text(" " + "  ".join(self._facts(width)), no_wrap=True, overflow="ellipsis")

    def _bar(self, width: int) -> Table:
        done, total = words.finite(self.step.get("step")), words.finite(self.step.get("steps"))
        left = words.seconds(self.step.get("seconds_left"))
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_row(
            Text(f" epoch {words.text(self.step.get('epoch'))}", style="bold"),
            ProgressBar(total=total or 1, completed=done or 0, width=None),
            Text(
                f"{_of(self.step, 'step', 'steps')}  {left} left"
                if left != words.NONE
                else _of(self.step, "step", "steps")
            ),
        )
        return grid

    def _facts(self, width: int) -> list[str]:
        facts: list[tuple[str, Any]] = [
            ("loss", words.plain(self.step.get("loss"))),
            ("train", words.percent(self.epoch.get("train_error"))),
            ("validation", words.percent(self.epoch.get("validation_error"))),
            ("rate", words.plain(self.step.get("rate"))),
            ("", f"{words.whole(self.step.get('images_per_second'))} img/s"),
        ]
        said = [
            f"{name} {value}".strip()
            for name, value in facts
            if not str(value).startswith(words.NONE)
        ]
        while len(said) > 1 and sum(map(len, said)) + 2 * len(said) > width:
            said.pop()
        return said
