"""`Doctor` for a loop one can edit, `watch` for a script one cannot."""

from __future__ import annotations

import runpy
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from visus.doctor.diagnose import asked
from visus.doctor.host import Host
from visus.doctor.letter import letter
from visus.doctor.probes import probes
from visus.doctor.record import Record
from visus.doctor.ticks import Enough
from visus.errors import UsageError, nearest
from visus.files import replace_json
from visus.ledger import Ledger


class Doctor:
    """Watches the training inside its `with` block.

    Args:
        model, optimizer, loss: optional; the doctor finds all three by itself. Given, they are
            checked to be what torch expects, nothing more.
        rules: ids to look for; all by default. share: the part of the time it may take.
        ledger: a `Ledger` that gets the lines of docs/doctor.md: steps, signals, findings.

    After the block `findings` holds the findings, causes first, and `letter()` the text.
    """

    def __init__(
        self, model: Any = None, optimizer: Any = None, loss: Any = None, *,
        rules: Iterable[str] | None = None, share: float = 0.02, ledger: Ledger | None = None,
        max_steps: int | None = None,
    ):  # fmt: skip
        if model is not None and not isinstance(model, torch.nn.Module):
            raise UsageError(f"Doctor: model is a {type(model).__name__}; give a torch.nn.Module")
        if optimizer is not None and not hasattr(optimizer, "param_groups"):
            raise UsageError(
                f"Doctor: optimizer is a {type(optimizer).__name__}; give a torch optimizer"
            )
        self.rules = list(rules) if rules is not None else None
        asks = asked(self.rules)  # reads in the rules: before the clock, as torch is
        list(probes)  # and the probes
        begin = time.perf_counter()
        self.host = Host(asks, share, max_steps)
        self.ledger, self.host.judge = ledger, self._judge
        if ledger is not None:
            self.host.record = Record(self.host, ledger.write, self._judge)
        self.findings: list[dict[str, Any]] = []
        self.steps, self.seconds, self.overhead = 0, 0.0, 0.0
        self.errors: list[str] = []
        self._given = model
        self.host.clock.begin(time.perf_counter() - begin)

    def __enter__(self) -> Doctor:
        if self._given is not None:
            self.host.names.root(self._given)
        self.host.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.host.stop()
        self.host.signals.facts["cut"] = isinstance(error, Enough)
        if isinstance(error, Exception):
            self.host.after_crash(trace)
        self._write("watching", doing="experiments after the end")
        self.host.finish()
        with self.host.clock.count():
            self.findings, errors = self.host.told(self.rules)
        self.errors = [*self.host.errors, *errors]
        self.steps, self.seconds = self.host.step, self.host.clock.seconds
        self.overhead = self.host.clock.overhead
        if self.host.record is not None:
            with self.host.clock.count():
                self._report(error)
            self.overhead = self.host.clock.overhead
        return isinstance(error, Enough)

    def _judge(self) -> list[dict[str, Any]]:
        # What the rules say of what was seen so far; their errors are for the end.
        self.host.settle()
        return self.host.told(self.rules)[0]

    def _write(self, kind: str, **fields: Any) -> None:
        if self.host.record is not None:
            self.host.record(kind, **fields)

    def _report(self, error: Any) -> None:
        self.host.record.flush()
        for found in self.findings:
            self._write("finding", **found, early=False)
        enough = isinstance(error, Enough)
        failed = error is not None and not enough and not isinstance(error, SystemExit)
        text = f"{type(error).__name__}: {error}".splitlines()[0] if failed else ""
        self._write("end", status="failed" if failed else "stopped" if enough else "done", message=text,
                    steps=self.steps, seconds=round(self.seconds, 3), overhead=round(self.overhead, 4),
                    errors=self.errors)  # fmt: skip

    def letter(self) -> str:
        """The findings as text for a person."""
        return letter(self.findings, steps=self.steps)


def watch(
    script: str | Path, args: Iterable[str] = (), *, max_steps: int | None = None,
    ledger: Ledger | None = None, json_path: str | Path | None = None, share: float = 0.02,
) -> dict[str, Any]:  # fmt: skip
    """Run a script as `python script args` would, under the doctor.

    Returns {"findings", "steps", "seconds", "overhead", "status", "error", "doctor_errors"}:
    `status` is the script's exit status, `error` one line about its exception, or None. With
    `json_path` the same is written there. The script's output is left alone.
    """
    path = Path(script)
    if not path.is_file():
        raise UsageError(_missing(path))
    doctor = Doctor(share=share, ledger=ledger, max_steps=max_steps)
    if ledger is not None:
        ledger.write("watch", script=str(path), args=[str(a) for a in args], max_steps=max_steps)
    status, error = _run(doctor, path, [str(a) for a in args])
    result = {
        "findings": doctor.findings, "steps": doctor.steps, "seconds": round(doctor.seconds, 3),
        "overhead": round(doctor.overhead, 4), "status": status, "error": error,
        "doctor_errors": doctor.errors,
    }  # fmt: skip
    if json_path is not None:
        replace_json(json_path, result)
    return result


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"watch: {path} is a folder; give the path of a Python file in it"
    near = nearest(path.name, [p.name for p in path.absolute().parent.glob("*.py")])
    hint = f"did you mean '{path.with_name(near)}'?" if near else "give the path of a Python file"
    return f"watch: no script at {path}; {hint}"


def _run(doctor: Doctor, path: Path, args: list[str]) -> tuple[int, str | None]:
    held_argv, held_path = sys.argv, list(sys.path)
    sys.argv, sys.path[0:0] = [str(path), *args], [str(path.parent.resolve())]
    try:
        with doctor:
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as left:
        if isinstance(left.code, int | None):
            return _status(left.code), None
        print(left.code, file=sys.stderr)  # as Python does
        return 1, str(left.code)
    except KeyboardInterrupt:
        return 130, "KeyboardInterrupt: stopped by the user"
    except Exception as error:
        _show(error)
        return 1, _line(error, path)
    finally:
        sys.argv, sys.path[:] = held_argv, held_path
    return 0, None


def _status(code: Any) -> int:
    return code if isinstance(code, int) else 0 if code is None else 1


def _show(error: Exception) -> None:
    # The program's own traceback, as Python prints it, without the frames that are ours.
    told = traceback.TracebackException.from_exception(error)
    ours = {
        str(Path(__file__).parent / name)
        for name in ("watching.py", "hooks.py", "host.py", "tape.py")
    }
    one: traceback.TracebackException | None = told
    while one is not None:
        kept = [f for f in one.stack if f.filename not in ours and "runpy" not in f.filename]
        one.stack = traceback.StackSummary.from_list(kept)
        one = one.__cause__ or one.__context__
    print("".join(told.format()), end="", file=sys.stderr)


def _line(error: Exception, path: Path) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if Path(f.filename).name == path.name]
    where = f" ({path.name}, line {inside[-1].lineno})" if inside else f" ({path.name})"
    first = (str(error).strip().splitlines() or [""])[0]
    where = "" if isinstance(error, SyntaxError) else where  # it names its line itself
    return f"{type(error).__name__}: {first}{where}"
