"""The answer for a watched program: the most likely cause, and what to do first."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import tag
from visus.report.charts import Axis, Mark, Series, line_chart
from visus.report.section import Section, sections
from visus.report.seen import Seen
from visus.report.story import Story
from visus.report.testimony import far

FEW = 20  # steps below which silence proves nothing


@sections.member
class Diagnosis(Section):
    title, place, of = "Diagnosis", 0, ("watch",)
    reads = ("watch", "finding", "step", "signal", "end")

    def body(self, story: Story) -> Markup:
        seen = Seen(story)
        found = [line for line in seen.findings() if line.get("severity") != "info"]
        head = tag("div", _cause(found[0]) if found else _well(story), class_="answer cause")
        return tag(
            "div", head, _course(seen, found), _tiles(story, seen, found), class_="glance half"
        )


def _cause(line: Line) -> list[Any]:
    severity = str(line.get("severity"))
    first = next(iter(words.listed(line.get("remedies"))), None)
    return [
        tag("p", "Most likely cause", class_="noun"),
        tag("p", words.text(line.get("id")), class_=f"name s-{severity}"),
        tag("p", "at ", words.text(line["where"]), class_="under") if line.get("where") else None,
        tag("p", words.text(line["explanation"]), class_="say")
        if line.get("explanation")
        else None,
        tag("p", tag("b", "First: "), words.text(first), class_="say") if first else None,
    ]


def _well(story: Story) -> list[Any]:
    steps = words.finite(story.last("end").get("steps"))
    if story.status == "failed":
        said = f"The program ended early: {words.text(story.end.get('message'))}"
    elif not story.end:
        said = "No end is recorded: the program is still running, or it was killed."
    elif not steps:
        said = "No torch optimizer stepped in this process: there was no training to watch."
    else:
        said = (
            f"In {words.some(steps, 'step')} nothing was seen that keeps the network from learning."
        )
    return [
        tag("p", "Diagnosis", class_="noun"),
        tag("p", "No finding", class_="name"),
        tag("p", said, class_="say"),
    ]


def _course(seen: Seen, found: list[Line]) -> Markup | None:
    losses = seen.losses()
    if len(losses) < 2:
        return None
    xs, ys = zip(*losses, strict=True)
    told = [
        (words.finite(line.get("first_step")), words.text(line.get("id"))) for line in found[:1]
    ]
    marks = [Mark(step, name) for step, name in told if step]  # one at step 0 is no news
    series = [Series("training loss", xs, ys)]
    chart = line_chart("Training loss", series, Axis("step", words.whole, whole=True),
                       Axis("loss", words.plain, log=far(series)), marks=marks, wide=560)  # fmt: skip
    return tag("div", chart, class_="compare")


def _tiles(story: Story, seen: Seen, found: list[Line]) -> Markup:
    end, losses = story.last("end"), seen.losses()
    share = words.finite(end.get("overhead"))
    grave = sum(line.get("severity") == "error" for line in found)
    tiles = [
        ("Findings", words.whole(len(found)), f"{words.some(grave, 'error')}, {words.some(len(found) - grave, 'warning')}"),
        ("Watched", words.some(end.get("steps"), "step"), words.seconds(end.get("seconds"))),
        ("Training loss", words.plain(losses[-1][1]) if losses else words.NONE,
         f"at the first step {words.plain(losses[0][1])}" if losses else ""),
        ("The doctor's time", words.percent(share), "of the program's own time"),
    ]  # fmt: skip
    return tag("div", [_tile(*tile) for tile in tiles], class_="tiles")


def _tile(name: str, value: str, under: str) -> Markup:
    parts = [tag("p", name, class_="noun"), tag("p", value, class_="value")]
    return tag("div", *parts, tag("p", under, class_="under"), class_="tile")
