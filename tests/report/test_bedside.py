"""The live view of a watch: beside the program's output, never in it."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from visus.report.bedside import Bedside, announcement

HERE = Path(__file__).parent
TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\x1b([78D])|(\r)|(\n)|([^\x1b\r\n])")


class Glass:
    """A terminal of `rows` x `columns`, as far as the view uses one; `above` is the scrollback."""

    def __init__(self, rows: int, columns: int):
        self.rows, self.columns, self.bottom = rows, columns, rows - 1
        self.lines, self.above = [[" "] * columns for _ in range(rows)], []
        self.at, self.saved = (0, 0), (0, 0)

    def feed(self, text: str) -> Glass:
        for found in TOKEN.finditer(text):
            self._do(*found.groups())
        return self

    def _do(self, numbers, final, single, home, feed, letter) -> None:
        row, column = self.at
        if letter:
            self.lines[row][min(column, self.columns - 1)] = letter
            self.at = row, column + 1
        elif home:
            self.at = row, 0
        elif feed or single == "D":
            self._down(0 if feed else column)
        elif single == "7":
            self.saved = self.at
        elif single == "8":
            self.at = self.saved
        elif final == "r":
            given = [int(n) for n in numbers.split(";") if n]
            self.bottom, self.at = (given[1] if given else self.rows) - 1, (0, 0)
        elif final == "H":
            self.at = int(numbers.split(";")[0]) - 1, int(numbers.split(";")[1]) - 1
        elif final == "A":
            self.at = max(row - int(numbers or 1), 0), column
        elif final == "K":
            self.lines[row] = [" "] * self.columns
        else:
            assert final == "m", f"the view uses {final!r}, which this glass does not know"

    def _down(self, column: int) -> None:
        row = self.at[0]
        if row == self.bottom:
            self.above.append(self.lines.pop(0))
            self.lines.insert(self.bottom, [" "] * self.columns)
        else:
            row += 1
        self.at = row, column

    def text(self) -> list[str]:
        """Everything ever shown, empty rows left out."""
        rows = ["".join(row).rstrip() for row in [*self.above, *self.lines]]
        return [row for row in rows if row]


def started(*words: str, rows: int = 20, columns: int = 70, group=None):
    """Our end of a terminal, and the talker at its other end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(HERE.parents[1])}
    child = subprocess.Popen([sys.executable, str(HERE / "talker.py"), *words], stdout=slave,
                             stderr=slave, stdin=slave, env=environment, process_group=group)  # fmt: skip
    os.close(slave)
    return master, child


def rest(master: int) -> str:
    """What is still sent, until the other end closes."""
    sent = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        sent += part
    os.close(master)
    return sent.decode()


def talk(*words: str, **size: int) -> tuple[str, int]:
    """What the talker sends to a terminal, and its exit status."""
    master, child = started(*words, **size)
    return rest(master), child.wait(60)


def test_what_the_program_says_stays_as_it_is():
    alone, watched = talk("off"), talk("on")
    assert alone[1] == watched[1] == 0
    assert "\x1b7" not in alone[0] and watched[0].count("talker.py: step") > 50
    assert Glass(20, 70).feed(watched[0]).text() == Glass(20, 70).feed(alone[0]).text()


def test_the_line_stands_on_the_last_row_while_the_program_runs():
    sent, _ = talk("on")
    half = sent[: sent.index("python 40")]
    rows = ["".join(row) for row in Glass(20, 70).feed(half).lines]
    assert rows[-1].startswith(" visus   talker.py: step 40 of 60")
    assert not any("visus" in row for row in rows[:-1])


@pytest.mark.skipif(not hasattr(signal, "SIGTSTP"), reason="no Ctrl-Z here")
def test_ctrl_z_gives_the_terminal_back_and_the_line_returns_with_the_process():
    master, child = started("on", "halt", group=0)
    sent, status = b"", None
    while status is None or not os.WIFSTOPPED(status):
        assert status is None, "it ended without being stopped"
        if select.select([master], [], [], 0.05)[0]:
            sent += os.read(master, 65536)
        done, found = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
        status = found if done else None
    while select.select([master], [], [], 0.05)[0]:
        sent += os.read(master, 65536)
    glass = Glass(20, 70).feed(sent.decode())
    assert glass.bottom == 19 and not any("visus" in "".join(row) for row in glass.lines)
    os.kill(child.pid, signal.SIGCONT)
    after = rest(master)
    assert child.wait(60) == 0 and after.count("talker.py: step") > 20
    alone = Glass(20, 70).feed(talk("off")[0]).text()
    assert glass.feed(after).text() == alone


def test_a_finding_appears_as_it_comes():
    sent, _ = talk("on", "finding")
    shown = Glass(20, 70).feed(sent).text()
    told = next(n for n, row in enumerate(shown) if "error relu-dead at conv1, since step 3" in row)
    assert shown[told + 1].strip() == "Most units never fire." and shown[-1] == "last line"


@pytest.mark.parametrize("size", [(3, 70), (20, 8)])
def test_a_tiny_terminal_is_left_in_peace(size):
    sent, status = talk("on", rows=size[0], columns=size[1])
    assert status == 0 and (size[0] >= 5 or "\x1b7" not in sent)


def test_nothing_is_said_where_no_terminal_is():
    said = io.StringIO()
    with Bedside(Console(file=said), "train.py") as view:
        view({"kind": "step", "step": 1, "loss": 2.0})
        view({"kind": "finding", "id": "relu-dead", "severity": "error"})
    assert said.getvalue() == "" and view.broken == []


def test_odd_lines_break_nothing(watched):
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, width=80)
    with Bedside(console, "train.py", 300) as view:
        for case in watched.CASES.values():
            for line in case():
                view({**line, "early": True})
        view({"kind": "finding", "id": "\x1b[31mred", "severity": None, "where": {}, "early": True})
    assert view.broken == [] and "\x1b[31mred" not in said.getvalue()


def test_an_announcement_says_what_where_since_when_and_why(watched):
    line = next(line for line in watched.watched() if line["kind"] == "finding")
    text = " ".join(announcement(line).plain.split())
    assert text.startswith(
        "visus error learning-rate-too-large at optimizer, since step 0, confidence 95"
    )
    assert "raised the loss of their own batch" in text
