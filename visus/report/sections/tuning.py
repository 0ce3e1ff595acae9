"""Tuning: what the search found, how sure that is, which values the good trials had."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import Cell, Column, code, facts, figure, folded, join, lead, table, tag
from visus.report.charts import Axis, Bar, Dot, bar_chart, dot_chart
from visus.report.charts.search import Point, Row, Thread, parallel, scatter
from visus.report.section import Section, sections
from visus.report.story import Story

STATES = {
    "done": "trained to the end", "pruned": "not among the best third", "late": "time was over",
    "diverged": "diverged", "failed": "failed",
}  # fmt: skip
ERROR = "validation error"


@sections.member
class Tuning(Section):
    title, place = "Tuning", 1
    reads = ("study", "tuning-trial", "tuning-result")

    def body(self, story: Story) -> Markup | None:
        trials, result = _trials(story), story.last("tuning-result")
        if not story.all("study"):
            return None
        searched = [t for t in trials if t.get("role") != "final"]
        return join(
            _answer(story, trials, result),
            _finals(trials, result),
            _history(searched, result) if searched else None,
            _coordinates(story, searched, result) if len(searched) > 1 else None,
            _importance(story, result),
            folded(f"All {words.some(len(trials), 'trial')}", _table(trials)) if trials else None,
        )


def _trials(story: Story) -> list[Line]:
    """The newest line of each trial, in order."""
    found = {words.text(line.get("number")): line for line in story.all("tuning-trial")}
    known = [t for t in found.values() if words.finite(t.get("number")) is not None]
    return sorted(known, key=lambda t: float(t["number"]))


def _number(trials: list[Line], number: Any) -> Line:
    return next((t for t in trials if number is not None and t["number"] == number), {})


def _answer(story: Story, trials: list[Line], result: Line) -> Markup:
    chosen = _number(trials, result.get("chosen"))
    error, before = words.finite(result.get("error")), words.finite(result.get("default_error"))
    if error is None:
        return lead(f"{words.some(len(trials), 'trial')} so far; no recipe has been chosen yet.")
    kept = result.get("chosen") == result.get("default")
    return tag(
        "div",
        tag(
            "div",
            tag("p", "Validation error of the chosen recipe", class_="noun"),
            tag("p", words.percent(error), class_="big"),
            tag("p", _beside(result, before, kept), class_="say"),
            class_="answer",
        ),
        tag("div", _values(chosen, result, kept), class_="compare"),
        class_="glance",
    )


def _beside(result: Line, before: float | None, kept: bool) -> str:
    seeds = max((len(words.listed(f.get("errors"))) for f in words.tables(result.get("finals"))), default=0)  # fmt: skip
    how = (
        f"the mean of {words.some(seeds, 'training')} from fresh seeds"
        if seeds
        else "of a single training, so partly luck: the best of many looks better than it is"
    )
    if kept:
        return f"The plain recipe stays: no trial was better. The error is {how}."
    rest = f" The plain recipe has {words.percent(before)}." if before is not None else ""
    return f"{how[:1].upper()}{how[1:]}.{rest} The test images were not touched."


def _values(chosen: Line, result: Line, kept: bool) -> Markup | None:
    values = chosen.get("values")
    if not isinstance(values, dict):
        return None
    file = words.text(result.get("file"))
    use = (
        lead("Written to ", tag("code", file), "; train with it: ", tag("code", f"visus train --recipe {file}"))
        if result.get("file")
        else None
    )  # fmt: skip
    name = "The plain recipe" if kept else f"Trial {words.text(chosen.get('number'))}"
    return join(tag("h3", name), facts([(key, code(value)) for key, value in values.items()]), use)


def _finals(trials: list[Line], result: Line) -> Markup | None:
    dots = []
    for final in words.tables(result.get("finals")):
        errors = [
            e for v in words.listed(final.get("errors")) if (e := words.finite(v)) is not None
        ]
        number = final.get("number")
        plain, chosen = number == result.get("default"), number == result.get("chosen")
        name = "plain recipe" if plain else f"trial {words.text(number)}"
        if errors:
            color = "validation" if chosen else "train"
            dots.append(Dot(name, sum(errors) / len(errors), color, min(errors), max(errors)))
    if not dots:
        return None
    high = 1.25 * max(dot.high or 0.0 for dot in dots) or None  # room for the last value
    near = min(dot.low or 0.0 for dot in dots) < 0.4 * high if high else True
    chart = dot_chart(
        "Finals", dots, Axis(ERROR, words.percent, zero=near, high=high if near else None)
    )
    said = ("The finalists were trained again from fresh seeds, because the best of many trials is partly luck. "
            "The bar goes from the least to the greatest error, the dot is the mean.")  # fmt: skip
    return figure("Finals", chart, lead(said))


def _history(trials: list[Line], result: Line) -> Markup | None:
    points = [
        Point(float(t["number"]), error, _said(t), t.get("state") == "done", t["number"] == result.get("chosen"))
        for t in trials
        if (error := words.finite(t.get("error"))) is not None
    ]  # fmt: skip
    if not points:
        return None
    lost = sum(t.get("state") in ("diverged", "failed") for t in trials)
    more = f" {words.some(lost, 'trial')} diverged or failed and cannot be placed." if lost else ""
    y = Axis(ERROR, words.percent, log=_wide([p.y for p in points]))
    chart = scatter("Trials in their order", points, Axis("trial", words.whole, whole=True), y)
    said = ("Rings are trials that were trained for a part of the epochs only, because they were not among the "
            "best third; full dots were trained to the end. The line is the best so far.")  # fmt: skip
    return figure("Trials in their order", chart, lead(said + more))


def _wide(values: list[float]) -> bool:
    return len(values) > 6 and min(values) > 0 and max(values) > 12 * min(values)


def _said(trial: Line) -> str:
    state = STATES.get(str(trial.get("state")), words.text(trial.get("state")))
    error = words.percent(trial.get("error"))
    return (
        f"trial {words.text(trial['number'])}: {error}, {state}, {words.text(trial.get('values'))}"
    )


def _coordinates(story: Story, trials: list[Line], result: Line) -> Markup | None:
    placed = [t for t in trials if isinstance(t.get("values"), dict) and words.finite(t.get("error")) is not None]  # fmt: skip
    rows = _rows(story, placed, result)
    if len(rows) < 2 or len(placed) < 2:
        return None
    threads = [_thread(t, placed, result) for t in placed]
    said = ("Each line is a trial and crosses each axis at its value. Strong lines are the better quarter, "
            "the thick one is the chosen recipe: where the strong lines lie close together, the value matters.")  # fmt: skip
    return figure(
        "Values of the trials", parallel("Values of the trials", rows, threads), lead(said)
    )


def _rows(story: Story, trials: list[Line], result: Line) -> list[Row]:
    space = {d["key"]: d for d in words.tables(story.last("study").get("space")) if "key" in d}
    shares = result.get("importance")
    weight = (
        {k: v for k, v in shares.items() if words.finite(v)} if isinstance(shares, dict) else {}
    )
    names = {d.get("key"): weight.get(d.get("name"), 0.0) for d in space.values()}
    rows = [_row(str(key), space[key], trials) for key in sorted(space, key=lambda k: -names[k])]
    errors = [float(t["error"]) for t in trials]
    if not errors:
        return []
    wide = _wide(errors)
    return [*(row for row in rows if row), Row(ERROR, min(errors), max(errors), wide, percent=True)]


def _row(key: str, dimension: dict, trials: list[Line]) -> Row | None:
    if dimension.get("choices"):
        return Row(key, choices=tuple(words.text(c) for c in words.listed(dimension["choices"])))
    found = [v for t in trials if (v := words.finite(t["values"].get(key))) is not None]
    if not found:
        return None
    return Row(key, min(found), max(found), dimension.get("log") is True and min(found) > 0)


def _thread(trial: Line, trials: list[Line], result: Line) -> Thread:
    better = sum(float(t["error"]) < float(trial["error"]) for t in trials)
    kind = "top" if better < len(trials) / 4 else "rest"
    kind = "chosen" if trial["number"] == result.get("chosen") else kind
    values = {k: words.text(v) if isinstance(v, str) else v for k, v in trial["values"].items()}
    return Thread(values | {ERROR: trial["error"]}, _said(trial), kind)


def _importance(story: Story, result: Line) -> Markup | None:
    shares = result.get("importance")
    known = {k: v for k, v in shares.items() if words.finite(v) is not None} if isinstance(shares, dict) else {}  # fmt: skip
    if not known:
        return None
    bars = [Bar(str(key), [(float(known[key]), "train")]) for key in sorted(known, key=lambda k: -float(known[k]))]  # fmt: skip
    rungs = words.listed(story.last("study").get("rungs"))
    after = f" after {words.some(rungs[0], 'epoch')}" if rungs else ""
    said = (f"How much each key decided whether a trial was among the better quarter{after}, pruned trials "
            "among them (PED-ANOVA). With few trials this is a hint, not a measurement.")  # fmt: skip
    chart = bar_chart("Importance", bars, format=words.percent)
    return figure("What mattered", chart, lead(said))


def _table(trials: list[Line]) -> Markup:
    keys = list(dict.fromkeys(key for t in trials for key in _of(t)))
    heads = [Column("trial", True, True), Column("how it ended"), Column(ERROR, True, True),
             Column("epochs", True, True), Column("time", True, True),
             *(Column(key, True, True) for key in keys)]  # fmt: skip
    return table(heads, [_cells(t, keys) for t in trials], "All trials")


def _of(trial: Line) -> dict:
    values = trial.get("values")
    return values if isinstance(values, dict) else {}


def _cells(trial: Line, keys: list[str]) -> list[Any]:
    role, state = trial.get("role"), str(trial.get("state"))
    how = STATES.get(state, state)
    how = f"final of trial {words.text(trial.get('of'))}" if role == "final" else how
    how = f"plain recipe, {how}" if role == "default" else how
    how = f"{how}: {words.text(trial['reason'])}" if trial.get("reason") else how
    error, epochs, seconds = (trial.get(key) for key in ("error", "epochs", "seconds"))
    values = [Cell(words.text(_of(trial).get(key)), _of(trial).get(key)) for key in keys]
    return [Cell(words.text(trial["number"]), trial["number"]), how,
            Cell(words.percent(error), words.number(error)), Cell(words.text(epochs), epochs),
            Cell(words.seconds(seconds), words.number(seconds)), *values]  # fmt: skip
