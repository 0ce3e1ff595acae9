"""Trials, the case history: symptom, evidence, the forks side by side, decision, effect on the run."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import code, facts, figure, flat, folded, join, lead, tag
from visus.report.charts import Axis, Dot, Series, dot_chart, line_chart
from visus.report.evidence import points
from visus.report.section import Section, sections
from visus.report.story import Story

ARMS = (("control", "soft"), ("treatment", "train"))
TOLD = {
    "kind", "t", "remedy", "id", "kept", "control", "treatment", "reason", "title", "edits", "why", "findings",
    "effect", "interval", "n", "cost_steps", "control_error", "treated_error", "measure", "fresh", "live", "at", "step", "round_steps", "race",
}  # fmt: skip


@sections.member
class Trials(Section):
    title, place, reads = "Treatment", 20, ("trial",)

    def body(self, story: Story) -> Markup | None:
        trials = story.all("trial")
        if not trials:
            return None
        said = ("Each remedy was tried on a fork of the run. From the same moment, with the same images in the "
                "same order, the treated fork ran beside a control; it is kept only where it was better beyond noise.")  # fmt: skip
        if any(line.get("race") for line in trials):
            said += (" In a race the run itself is the control: its rival trains from the first step under the "
                     "remedy, to the same share of the schedule, and where it wins it is the run from then on.")  # fmt: skip
        kept = [line for line in trials if line.get("kept") is True]
        lost = [line for line in trials if line.get("kept") is not True]
        rest = [_card(line) for line in lost]
        return join(
            lead(said),
            _outcome(story, kept, len(trials)),
            [_card(line) for line in kept],
            (rest if not kept else folded(f"{words.some(len(lost), 'remedy', 'remedies')} tried and not kept", *rest))
            if lost
            else None,
        )  # fmt: skip


def _outcome(story: Story, kept: list[Line], count: int) -> Markup:
    """What was tried and kept, what it cost, and where the run ended."""
    tried = words.some(count, "remedy was", "remedies were")
    if not kept:
        return tag("p", f"{tried} tried and none kept: the recipe is as it was.", class_="strong")
    edits = [edit for line in kept for edit in words.listed(line.get("edits")) or [_title(line)]]
    steps = words.finite(story.last("plan").get("steps"))
    cost = sum(
        words.finite(dict(flat(line.get("evidence"))).get("steps_spent")) or 0.0
        for line in story.all("stage")
    )
    share = (
        f" The treatment took {words.percent(cost / steps)} of the run's steps."
        if steps and cost
        else ""
    )
    final = story.outcome.get("validation_error")
    last = next((line for line in reversed(kept) if line.get("edits")), kept[-1])
    was = words.finite(last.get("control_error"))
    effect = (
        f" The run ended with a validation error of {words.percent(final)}"
        if final is not None
        else ""
    )
    if effect and was is not None:
        arm = "run after" if last.get("race") or not last.get("edits") else "fork of"
        effect += f"; the untreated {arm} {words.some(last.get('steps'), 'step')} had {words.percent(was)}"
    parts = [f"{tried} tried, kept: ", *_codes(edits), ".", share, effect + "." if effect else ""]
    return tag("p", *parts, class_="strong")


def _codes(edits: list[Any]) -> list[Any]:
    found: list[Any] = []
    for edit in edits:
        found += [", "] * bool(found) + [code(_cut(edit))]
    return found


def _cut(value: Any) -> str:
    said = words.text(value)
    return said if len(said) < 120 else said[:110] + " ..."


def _card(line: Line) -> Markup:
    kept = line.get("kept")
    verdict = "kept" if kept is True else "not kept" if kept is False else "open"
    more = flat({key: value for key, value in line.items() if key not in TOLD})
    title = _title(line)
    edits = _codes(words.listed(line.get("edits")))
    return tag(
        "article",
        tag("h3", tag("span", verdict, class_="badge"), " ", words.text(title)),
        tag("p", *edits) if edits else None,
        tag("p", _symptom(line)) if line.get("why") or line.get("findings") else None,
        _curves(line),
        _effect(line),
        tag("p", _verdict(line)) if line.get("reason") else None,
        facts([(name.replace("_", " "), _value(value)) for name, value in more])
        if more[0][0]
        else None,
        class_=f"finding s-{'info' if kept is True else 'quiet'}",
    )


def _title(line: Line) -> Any:
    return line.get("title") or line.get("remedy") or line.get("id")


def _symptom(line: Line) -> str:
    called = words.listed(line.get("findings"))
    found = f" Called for by {', '.join(words.text(name) for name in called)}." if called else ""
    why = words.text(line["why"]) if line.get("why") else ""
    return f"{why[:1].upper()}{why[1:]}{'.' if why else ''}{found}".strip()


def _verdict(line: Line) -> str:
    fresh = line.get("fresh") and not line.get("live")
    how = "The run starts again from step 0 with it." if fresh else "The run goes on with it."
    how = "The model goes out with it." if not line.get("edits") else how
    how = "The rival is the run from here on." if line.get("race") else how
    reason = words.text(line["reason"])
    return f"{reason[:1].upper()}{reason[1:]}." + (f" {how}" if line.get("kept") is True else "")


def _value(value: Any) -> str:
    return words.text(value) if words.number(value) is None else words.plain(value, 4)


def _curves(line: Line) -> Markup | None:
    series = []
    for arm, color in ARMS:
        found = points(_arm(line.get(arm)))
        if found:
            xs, ys = zip(*found, strict=True)
            series.append(Series(arm, xs, ys, color, dash=arm == "control"))
    if not series:
        return None
    label = str(line.get("measure") or "validation error")
    y = Axis(label, words.percent if "error" in label else words.plain, zero="error" in label)
    chart = line_chart(
        "Control and treatment",
        series,
        Axis("step" if line.get("race") else "step of the fork", words.whole, whole=True),
        y,
    )
    return figure("Control and treatment", chart)


def _effect(line: Line) -> Markup | None:
    """The paired difference with its interval, against no difference."""
    bounds, effect = words.listed(line.get("interval")), words.finite(line.get("effect"))
    ends = [words.finite(value) for value in bounds]
    if effect is None or len(ends) != 2 or None in ends:
        return None
    dots = [Dot("less error", effect, "train", ends[0], ends[1]), Dot("no effect", 0.0, "soft")]
    # Room for the number behind the end of the interval.
    far = max(ends[1] or 0.0, 0.0) + 0.3 * abs((ends[1] or 0.0) - min(ends[0] or 0.0, 0.0))
    axis = Axis(
        "validation error of the control minus that of the treatment", words.percent, high=far
    )
    chart = dot_chart("Less error than the control", dots, axis)
    return figure("Less error than the control, with the 95 % interval", chart)


def _arm(value: Any) -> Any:
    """An arm's curve under any of its usual names."""
    if not isinstance(value, dict):
        return value
    y = next((value[key] for key in ("y", "errors", "losses", "values") if key in value), None)
    return {"x": value.get("x") or value.get("steps") or list(range(len(y or []))), "y": y}
