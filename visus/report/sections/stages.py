"""The procedure: each step of the training by the book, what was decided, on what evidence."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import Column as Head
from visus.report.blocks import figure, flat, folded, join, lead, table, tag
from visus.report.charts import Axis, Series, line_chart
from visus.report.section import Section, sections
from visus.report.story import Story

TITLES = {
    "split": "Split", "baseline": "Baseline", "labels": "Labels", "first weights": "First weights",
    "one batch": "One batch by heart", "first steps": "First steps", "race": "Race", "statistics": "Statistics",
    "midway": "Midway", "late": "Read again",
    "broken": "The loss broke", "errors": "Reading the errors", "test": "Test", "data audit": "Data audit", "re-split": "Divided anew",
    "range test": "Range test",
}  # fmt: skip
BULKY = ("losses", "forward", "backward", "suspects")


@sections.member
class Stages(Section):
    title, place, reads = "Procedure", 15, ("stage",)

    def body(self, story: Story) -> Markup | None:
        stages = _ordered(story)
        if not stages:
            return None
        said = "The steps of the training in their order: what each one decided, and the numbers it decided by."
        heads = [Head("step"), Head("decided"), Head("evidence"), Head("took", True)]
        rows = [
            [
                TITLES.get(str(line.get("name")), words.text(line.get("name"))),
                tag("span", words.text(line.get("decided")), class_="prose"),
                tag("span", _numbers(line), class_="prose"),
                words.seconds(words.finite(line.get("seconds"))),
            ]
            for line in stages
        ]
        return join(lead(said), table(heads, rows, "Steps of the procedure"), _flow(stages))


def _ordered(story: Story) -> list[Line]:
    """All stages, with the range test in the place where it was taken."""
    found = []
    for line in story.lines:
        if line["kind"] == "stage" and not line.get("again"):  # told again of a rival that won
            found.append(line)
        elif line["kind"] == "range-test" and line.get("reason"):
            found.append({"name": "range test", "decided": line["reason"], "evidence": {"rate": line.get("rate")}})  # fmt: skip
    return found if any(line.get("kind") == "stage" for line in found) else []


def _numbers(line: Line) -> str:
    table = line.get("evidence")
    pairs = (
        flat({k: v for k, v in table.items() if k not in BULKY}) if isinstance(table, dict) else []
    )
    said = [
        f"{name.replace('_', ' ')} {_value(name, value)}"
        for name, value in pairs
        if name and _short(value)
    ]
    return ", ".join(said)


def _short(value: Any) -> bool:
    return words.finite(value) is not None or (isinstance(value, str) and len(value) < 60)


def _value(name: str, value: Any) -> str:
    number = words.finite(value)
    if number is None:
        return words.text(value)
    return words.percent(number) if name.endswith("error") else words.plain(number, 3)


def _flow(stages: list[Line]) -> Markup | None:
    """How far the signal reaches forward, and the gradient backward, through fresh weights."""
    line = next((x for x in reversed(stages) if x.get("name") == "first weights"), {})
    evidence = line.get("evidence")
    if not isinstance(evidence, dict):
        return None
    series = [
        Series(name, list(range(1, len(values) + 1)), values, color)
        for name, key, color in (
            ("signal", "forward", "train"),
            ("gradient", "backward", "validation"),
        )
        if (values := _positive(evidence.get(key)))
    ]
    if not series or len(series[0].xs) < 2:
        return None
    axes = Axis("layer", words.whole, whole=True), Axis("variance, rms", words.plain, log=True)
    chart = line_chart("Signal and gradient by layer, before the first step", series, *axes)
    return folded("Signal and gradient by layer, before the first step", figure("Variance of each layer's output, and size of its gradient", chart))  # fmt: skip


def _positive(value: Any) -> list[float]:
    found = [words.finite(item) for item in value.values()] if isinstance(value, dict) else []
    known = [item for item in found if item is not None and item > 0]
    return known if len(known) == len(found) else []
