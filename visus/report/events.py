"""One sentence for every kind of ledger line: the terminal and the timeline both say these.

A new kind gets its words by one function here; a kind without one is told by its fields.
"""

from __future__ import annotations

from typing import Any

from visus.family import Family
from visus.ledger import Line
from visus.report import lettering, words

events = Family("event")
QUIET = frozenset({"step", "confusion", "per-class", "mistakes", "sheet", "scatter", "cases",
                   "roc", "calibration", "overlays", "shares",
                   "gallery", "audit", "signal", "histogram", "landscape", "layers"})  # fmt: skip
REASONS = {
    "done": "all planned steps are done",
    "early-stopping": "validation stopped getting better",
    "time-limit": "the time limit was reached",
    "signal": "it was asked to stop",
    "sigint": "it was asked to stop (Ctrl-C)",
    "sigterm": "the system asked it to stop",
}


def say(line: Line) -> str | None:
    """What happened, in one line without a full stop; None for a kind that is only data."""
    kind = str(line.get("kind"))
    if kind in QUIET:
        return None
    try:
        return events[kind](line) if kind in events else _unknown(line)
    except (TypeError, ValueError, AttributeError, KeyError):
        return _unknown(line)  # a field of an unexpected type: say what is there


def _unknown(line: Line) -> str:
    fields = {key: item for key, item in line.items() if key not in ("kind", "t")}
    return lettering.cut(f"{line.get('kind')}: {words.text(fields)}", 160)


def why(reason: Any) -> str:
    """The words for a stop reason; the reason itself where it is a sentence already."""
    return REASONS.get(str(reason).strip().lower(), words.text(reason))


def _and(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


@events.member
def run(line: Line) -> str:
    return _and(f"visus {line.get('version', '')}".strip(), words.text(line.get("command")))


@events.member
def pixels(line: Line) -> str:
    return f"{words.some(line.get('n'), 'test image')} compared with the others by pixels alone"


@events.member
def environment(line: Line) -> str:
    torch = f"torch {line['torch']}" if line.get("torch") else None
    device = f"on {line['device']}" if line.get("device") else None
    threads = words.some(line["threads"], "thread") if words.finite(line.get("threads")) else None
    return _and(torch, device, threads) or "environment recorded"


@events.member
def recipe(line: Line) -> str:
    return "recipe fixed"


@events.member
def data(line: Line) -> str:
    size, bad = line.get("size"), line.get("bad") or []
    pixels = f"{words.shape(size)} pixels" if size else None
    left_out = f"{words.some(len(bad), 'file')} left out" if bad else None
    n = len(line.get("classes") or [])
    return "data: " + _and(
        words.text(line.get("source")), words.some(n, *words.outputs(line)), pixels, left_out
    )


@events.member
def split(line: Line) -> str:
    sizes = line.get("sizes") or {}
    said = "split: " + _and(*(f"{words.whole(n)} {name}" for name, n in sizes.items()))
    pairs = line.get("pairs")
    if not isinstance(pairs, dict):
        return said
    counted = " / ".join(words.whole(n) for n in pairs.values())
    return f"{said}; pairs {counted}: those across splits are left out"


@events.member
def task(line: Line) -> str:
    outputs = words.listed(line.get("outputs"))
    of = f" of {words.text(outputs)}" if 0 < len(outputs) <= 6 else ""
    how = f" ({line['how']})" if line.get("how") else ""
    return f"task: {line.get('name')}{of}{how}, loss {line.get('loss')}"


@events.member
def metrics(line: Line) -> str:
    rows = words.tables(line.get("rows"))
    said = [
        f"{row.get('name')} {(words.percent if row.get('unit') == 'share' else words.plain)(row.get('value'))}"
        for row in rows[:4]
    ]
    return "measures: " + _and(*said, f"{len(rows) - 4} more" if len(rows) > 4 else None)


@events.member
def model(line: Line) -> str:
    return f"model: {line.get('name')}, {words.short(line.get('parameters'))} parameters"


@events.member
def threads(line: Line) -> str:
    return f"{words.some(line.get('chosen'), 'thread')} chosen by a short timed probe"


@events.member
def range_test(line: Line) -> str:
    reason = f" ({line['reason']})" if line.get("reason") else ""
    return f"range test: learning rate {words.plain(line.get('rate'))}{reason}"


@events.member
def plan(line: Line) -> str:
    reason = f" ({line['reason']})" if line.get("reason") else ""
    steps = words.some(line.get("steps"), "step")
    return f"plan: {words.some(line.get('epochs'), 'epoch')}, {steps}{reason}"


@events.member
def epoch(line: Line) -> str:
    train, validation = line.get("train_error"), line.get("validation_error")
    return f"epoch {words.text(line.get('epoch'))}: " + _and(
        f"train error {words.percent(train)}" if train is not None else None,
        f"validation error {words.percent(validation)}" if validation is not None else None,
        "best so far" if line.get("best") is True else None,
    )


@events.member
def checkpoint(line: Line) -> str:
    return f"checkpoint at step {words.whole(line.get('step'))}"


@events.member
def resume(line: Line) -> str:
    if line.get("restart"):
        return (
            "; ".join(words.text(note) for note in words.listed(line.get("notes")))
            or "starts again"
        )
    return f"resumed from step {words.whole(line.get('step'))}"


@events.member
def stop(line: Line) -> str:
    return f"stopped: {why(line.get('reason'))}"


@events.member
def look(line: Line) -> str:
    bounds = words.interval(line.get("interval"))
    reason = f" ({line['reason']})" if line.get("reason") else ""
    seen = [f"error {words.percent(line['error'])}"] if line.get("error") is not None else []
    seen += [f"95 % interval {bounds}"] if bounds else []
    return (
        f"look {words.text(line.get('number'))} at test{reason}" + ": " * bool(seen) + _and(*seen)
    )


@events.member
def finding(line: Line) -> str:
    where = f" at {line['where']}" if line.get("where") else ""
    early = " (while it ran)" if line.get("early") is True else ""
    return f"{line.get('severity') or 'finding'}: {line.get('id')}{where}{early}"


@events.member
def watch(line: Line) -> str:
    limit = f", {words.some(line['max_steps'], 'step')} at most" if line.get("max_steps") else ""
    given = " ".join(map(str, words.listed(line.get("args"))))
    return f"watching {words.text(line.get('script'))} {given}".strip() + limit


@events.member
def watching(line: Line) -> str:
    return words.text(line.get("doing"))


@events.member
def trial(line: Line) -> str:
    kept = line.get("kept")
    verdict = "kept" if kept is True else "not kept" if kept is False else None
    edits = ", ".join(words.text(edit) for edit in words.listed(line.get("edits")))
    name = edits or words.text(line.get("remedy") or line.get("id"))
    known = [line.get("effect"), *words.listed(line.get("interval"))]
    ends = [100 * value for end in known if (value := words.finite(end)) is not None]
    gain = "{:.1f} points less error ({:.1f} to {:.1f})".format(*ends) if len(ends) == 3 else None
    return _and(f"trial of {lettering.cut(name, 80)}", verdict, gain)


@events.member
def stage(line: Line) -> str:
    return f"{words.text(line.get('name'))}: {words.text(line.get('decided'))}"


@events.member
def study(line: Line) -> str:
    keys, done = len(words.listed(line.get("space"))), line.get("done")
    wish = f", {words.whole(line['trials'])} trials wished for" if line.get("trials") else ""
    before = f", {words.some(done, 'trial')} there already" if done else ""
    epochs = words.some(line.get("epochs"), "epoch")
    return f"study: {words.some(keys, 'key')} vary, {epochs} a whole trial{wish}{before}"


@events.member
def tuning_trial(line: Line) -> str:
    role, state = line.get("role"), line.get("state")
    name = f"trial {words.text(line.get('number'))}"
    name += {"default": " (the plain recipe)", "final": f" (final of {line.get('of')})"}.get(
        str(role), ""
    )
    error = (
        f"validation error {words.percent(line['error'])}"
        if line.get("error") is not None
        else None
    )
    epochs = f"after {words.some(line['epochs'], 'epoch')}" if line.get("epochs") else None
    how = None if state == "done" else words.text(line.get("reason") or state)
    return f"{name}: " + _and(
        " ".join(filter(None, (error, epochs))), how, words.seconds(line.get("seconds"))
    )


@events.member
def tuning_result(line: Line) -> str:
    values = line.get("values")
    error = f"validation error {words.percent(line.get('error'))}"
    if not values:
        return f"the plain recipe is the best, {error}"
    return f"trial {words.text(line.get('chosen'))} is the best, {error}: {words.text(values)}"


@events.member
def note(line: Line) -> str:
    return words.text(line.get("text"))


@events.member
def end(line: Line) -> str:
    message = f": {line['message']}" if line.get("message") else ""
    return f"{line.get('status') or 'ended'}{message}"
