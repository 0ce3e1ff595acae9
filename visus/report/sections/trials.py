"""Trials: the treated fork beside the control that simply went on."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import code, facts, figure, flat, join, lead, tag
from visus.report.charts import Axis, Series, line_chart
from visus.report.evidence import points
from visus.report.section import Section, sections
from visus.report.story import Story

ARMS = (("control", "soft"), ("treatment", "train"))


@sections.member
class Trials(Section):
    title, place, reads = "Trials", 20, ("trial",)

    def body(self, story: Story) -> Markup | None:
        trials = story.all("trial")
        if not trials:
            return None
        said = ("Each remedy was tried on a fork of the run. From the same moment, with the same images in the "
                "same order, the treated fork ran beside a control; it is kept only where it was better beyond noise.")  # fmt: skip
        return join(lead(said), [_card(line) for line in trials])


def _card(line: Line) -> Markup:
    kept = line.get("kept")
    verdict = "kept" if kept is True else "not kept" if kept is False else "open"
    remedy = line.get("remedy") or line.get("id")
    shown = {"kind", "t", "remedy", "id", "kept", "control", "treatment", "reason"}
    more = flat({key: value for key, value in line.items() if key not in shown})
    return tag(
        "article",
        tag("h3", tag("span", verdict, class_="badge"), " ", code(remedy)),
        tag("p", words.text(line["reason"])) if line.get("reason") else None,
        _curves(line),
        facts([(name.replace("_", " "), _value(value)) for name, value in more])
        if more[0][0]
        else None,
        class_=f"finding s-{'info' if kept is True else 'quiet'}",
    )


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
    y = Axis(label, words.percent if "error" in label else words.plain)
    chart = line_chart("Control and treatment", series, Axis("step", words.whole, whole=True), y)
    return figure("Control and treatment", chart)


def _arm(value: Any) -> Any:
    """An arm's curve under any of its usual names."""
    if not isinstance(value, dict):
        return value
    y = next((value[key] for key in ("y", "errors", "losses", "values") if key in value), None)
    return {"x": value.get("x") or value.get("steps") or list(range(len(y or []))), "y": y}
