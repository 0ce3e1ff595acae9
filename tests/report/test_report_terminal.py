"""The terminal: lines in a pipe, a live line in a terminal, a cursor that comes back."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rich.console import Console

from visus.report import compose, events
from visus.report.terminal import LiveView, summary, view

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


def piped(lines, **options) -> str:
    console = Console(file=io.StringIO(), width=80, **options)
    listen = view(console)
    for line in lines:
        listen(line)
    assert listen.broken == []
    return console.file.getvalue()  # type: ignore[attr-defined]


def live(lines, width=100, **options) -> str:
    console = Console(file=io.StringIO(), width=width, height=30, force_terminal=True, **options)
    with view(console) as listen:
        assert isinstance(listen, LiveView)
        for line in lines:
            listen(line)
    assert listen.broken == []
    return console.file.getvalue()  # type: ignore[attr-defined]


def printed(lines, **options) -> str:
    console = Console(file=io.StringIO(), width=80, **options)
    console.print(summary(lines), soft_wrap=True)
    return console.file.getvalue()  # type: ignore[attr-defined]


def screen(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_every_ledger_can_be_watched_and_summed_up(case, lines):
    for text in (piped(lines), printed(lines)):
        assert "\x1b" not in text and "\u202f" not in text and "\x07" not in text
    few = [line for n, line in enumerate(lines) if line["kind"] != "step" or n % 10 == 0]
    for width in (40, 60, 120):
        text = live(few, width)
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h")
        assert "\x1b[31mwith" not in text


def test_a_pipe_gets_one_line_an_epoch_and_an_event(ledgers):
    rows = piped(ledgers.ledger(epochs=7)).splitlines()
    epochs = [row for row in rows if row.startswith("epoch ")]
    assert len(epochs) == 7 and all(
        "train error" in row and "validation error" in row for row in epochs
    )
    assert len([row for row in rows if row.startswith("range test:")]) == 1
    assert len(rows) < 20


def test_long_lines_are_not_broken_in_a_pipe(ledgers):
    lines = ledgers.ledger(epochs=1, source="/very/long" * 30)
    assert any("/very/long" * 30 in row for row in piped(lines).splitlines())
    assert any(len(row) > 80 for row in piped(lines).splitlines())


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_live_row_is_wider_than_the_terminal(ledgers, width):
    from rich.cells import cell_len

    rows = re.split("[\r\n]+", screen(live(ledgers.ledger(epochs=3), width)))
    assert max(cell_len(row) for row in rows) <= width


def test_finished_epochs_stand_as_rows_under_one_heading(ledgers):
    text = screen(live(ledgers.ledger(epochs=4)))
    assert text.count("validation error") == 1
    assert [n for n in range(1, 5) if f"{n}/4" in text] == [1, 2, 3, 4]
    assert "img/s" in text and "left" in text and "loss" in text


def test_no_color_is_respected(ledgers, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = live(ledgers.ledger(epochs=2), color_system="truecolor")
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|38|9[0-7])[;m]", text)
    monkeypatch.delenv("NO_COLOR")
    assert re.search(
        r"\x1b\[[0-9;]*3[0-8][;m]", live(ledgers.ledger(epochs=2), color_system="truecolor")
    )


def test_an_ascii_output_gets_ascii(ledgers):
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", write_through=True), width=80)
    lines = ledgers.evil()
    listen = view(console)
    for line in lines:
        listen(line)
    console.print(summary(lines))
    assert listen.broken == [] and b"17.0 %" in raw.getvalue()


CLOSED = """
import os, sys
from visus.report.terminal import view
listen = view()
for n in range(5):
    listen({"kind": "epoch", "epoch": n, "train_error": 0.5})
print(len(listen.broken), file=sys.stderr)
os._exit(7)
"""


def test_a_closed_pipe_does_not_end_a_training():
    """As in `visus train ... | head -1`: what reads goes away, the training goes on."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-c", CLOSED], stdout=write, stderr=subprocess.PIPE, cwd=ROOT, timeout=60
    )
    os.close(write)
    assert process.returncode == 7, process.stderr
    assert int(process.stderr) >= 1


def test_the_summary_says_what_matters(ledgers):
    text = printed([*ledgers.ledger(best_error=0.174), *ledgers.findings()])
    assert text.startswith(
        "Test error 17.4 % (95 % interval 16.7 to 18.2 %) on 10 000 images; 1 look at test"
    )
    for part in ("Best validation error", "all planned steps are done", "runs/cifar10-1/report.html", "visus predict runs/cifar10-1",
                 "error learning-rate-too-large at optimizer, since step 40, confidence 97.0 %", "evidence: loss ratio 3.2 (threshold 1)",
                 "to do: optimizer.rate=0.008"):  # fmt: skip
        assert part in text, part
    assert (
        text.index("learning-rate-too-large")
        < text.index("relu-dead")
        < text.index("class-imbalance")
    )


def test_a_stopped_run_says_how_to_go_on(ledgers):
    text = printed(ledgers.CASES["stopped"]())
    assert (
        "no test error" in text
        and "visus train --resume runs/cifar10-1" in text
        and "Ctrl-C" in text
    )


def test_a_folder_with_spaces_is_quoted(ledgers):
    lines = ledgers.ledger(epochs=1)
    lines[0]["folder"] = "runs/my photos"
    assert "visus predict 'runs/my photos' IMAGE..." in printed(lines)


PROGRAM = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("ledgers", {path!r})
ledgers = importlib.util.module_from_spec(spec); spec.loader.exec_module(ledgers)
from visus.report.terminal import view
listen = view()
for line in ledgers.ledger(epochs=3)[:60]:
    listen(line)
print("READY", flush=True)
for _ in range(3000):  # short sleeps: a signal just before a sleep is heard after it
    time.sleep(0.01)
"""


def test_ctrl_c_gives_the_cursor_back():
    """A real terminal, a real SIGINT, and a program that does not catch it."""
    leader, follower = pty.openpty()
    program = textwrap.dedent(PROGRAM.format(path=str(HERE / "ledgers.py")))
    environment = {
        **os.environ,
        "TERM": "xterm",
        "COLUMNS": "60",
        "LINES": "20",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
    )
    os.close(follower)
    try:
        seen = _until(leader, b"READY")
        assert HIDE in seen and SHOW not in seen.split(HIDE)[-1], "live: the cursor is hidden"
        process.send_signal(signal.SIGINT)
        seen += _until(leader, b"KeyboardInterrupt") + _rest(leader)
        assert seen.rfind(SHOW) > seen.rfind(HIDE)
    finally:
        process.kill()
        process.wait(10)
        os.close(leader)


def _until(leader: int, mark: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 20
    while mark not in seen:
        assert time.monotonic() < end, seen
        if select.select([leader], [], [], 1)[0]:
            seen += os.read(leader, 65536)
    return seen


def _rest(leader: int) -> bytes:
    seen = b""
    try:
        while select.select([leader], [], [], 5)[0]:
            seen += os.read(leader, 65536)
    except OSError:  # the other end is closed: the program has ended
        pass
    return seen


def test_no_torch_and_no_plots_are_imported():
    code = "import sys, visus.report, visus.report.terminal as t; visus.report.compose([]); t.view(); print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_a_look_in_two_lines_is_said_once(ledgers):
    look = next(line for line in ledgers.ledger(epochs=1) if line["kind"] == "look")
    bare = {key: look[key] for key in ("kind", "t", "number", "reason", "n")}
    assert piped([bare, look]).count("look 1 at test") == 1
    assert "1 look at test so far" in printed([bare, look])


def test_a_finding_is_whole_in_a_pipe_and_folded_in_a_terminal(ledgers):
    """Evidence longer than the screen is never cut; of many remedies the likeliest are named."""
    evidence = {f"a_number_with_a_long_name_{n}": n for n in range(6)}
    remedies = [f"remedy {n}" for n in range(9)]
    line = {"kind": "finding", "id": "underfitting", "severity": "warning", "evidence": evidence,
            "explanation": "word " * 40, "remedies": remedies}  # fmt: skip
    text = printed([*ledgers.ledger(epochs=1), line])
    assert "a number with a long name 5 5" in text
    assert "to do: remedy 2" in text and "remedy 3" not in text and "and 6 more remedies" in text
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    console.print(summary([*ledgers.ledger(epochs=1), line]), soft_wrap=True)
    told = out.getvalue()
    folded = told[told.index("underfitting") : told.index("     run")].splitlines()[1:]
    assert all(len(row.rstrip()) <= 60 and row.startswith("  ") for row in folded if row.strip())
    assert "long name 5 5" in " ".join(row.strip() for row in folded)


def test_a_model_treated_at_the_end_is_told_with_the_error_it_went_out_with(ledgers):
    """Exact statistics change the finished model: the best epoch's error is not its own."""
    lines = ledgers.ledger(epochs=2, best_error=0.5)
    at = max(n for n, line in enumerate(lines) if line["kind"] == "epoch") + 1
    trial = {"kind": "trial", "kept": True, "edits": [], "title": "Exact statistics", "treated_error": 0.123,
             "control_error": 0.5, "steps": 8}  # fmt: skip
    assert "as the model went out" not in printed(lines)
    assert "12.3 % as the model went out, with exact statistics." in printed(
        [*lines[:at], trial, *lines[at:]]
    )
    for other in ({"kept": False}, {"edits": ["optimizer.rate=1"]}):  # lost, or of another recipe
        assert "went out" not in printed([*lines[:at], trial | other, *lines[at:]])
    page = compose([*lines[:at], trial, *lines[at:]]).html
    assert "then treated" in page and "validation error of 12.3" in page.replace("\u202f", " ")


def test_what_is_counted_is_named_by_the_task(ledgers):
    said = lambda kind, **fields: events.say({"kind": kind, **fields})  # noqa: E731
    assert "2 targets" in said("data", source="m.csv", classes=["x", "y"], task="regression")
    assert "2 classes" in said("data", source="m.csv", classes=["x", "y"], task="dichotomy")
    assert "1 score" in said("data", source="m.csv", classes=["score"], task="ranking")
    sizes = {"train": 454, "validation": 57, "test": 57}
    pairs = {"train": 583, "validation": 9, "test": 9}
    assert "pairs 583 / 9 / 9" in said("split", sizes=sizes, pairs=pairs)
    lines = [
        line | ({"pairs": pairs} if line["kind"] == "split" else {}) for line in ledgers.ledger()
    ]
    assert "pairs; 1 look" in printed(lines) and "on 10" in printed(lines)


def test_a_time_limit_that_left_no_epoch_is_told(ledgers):
    lines = [line for line in ledgers.ledger() if line["kind"] != "epoch"]
    lines = [line | ({"reason": "time-limit"} if line["kind"] == "stop" else {}) for line in lines]
    assert "No epoch was finished" in printed(lines)
