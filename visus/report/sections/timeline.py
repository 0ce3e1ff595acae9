"""The timeline: what happened, when."""

from __future__ import annotations

from itertools import groupby

from markupsafe import Markup

from visus.ledger import Line
from visus.report import events, words
from visus.report.blocks import join, lead, tag
from visus.report.section import Section, sections
from visus.report.story import Story

MOST, ALIKE = 400, 3


@sections.member
class Timeline(Section):
    title, place, of = "Timeline", 140, ("run", "watch")
    reads = (
        "run",
        "stop",
        "checkpoint",
        "resume",
        "end",
        "plan",
        "split",
        "finding",
        "watch",
        "trial",
        "tuning-trial",
    )

    def body(self, story: Story) -> Markup | None:
        told = [line for line in story.every if line["kind"] != "epoch" and events.say(line)]
        if not told:
            return None
        start, items = words.finite(told[0].get("t")), []
        for _, run in groupby(told, key=lambda line: line["kind"]):
            items += _together(list(run), start)
        first = f"All times count from {words.moment(start)} on the clock of the machine that wrote this page."
        return join(lead(first), tag("ol", items[:MOST], class_="timeline"))


def _together(alike: list[Line], start: float | None) -> list[Markup]:
    """Many events of one kind in a row are one item: 12 checkpoints, the last ..."""
    if len(alike) <= ALIKE or alike[0]["kind"] == "finding":
        return [_item(line, events.say(line) or "", start) for line in alike]
    newest = alike[-1]
    return [
        _item(newest, f"{len(alike)} × {newest['kind']}, the last: {events.say(newest)}", start)
    ]


def _item(line: Line, said: str, start: float | None) -> Markup:
    t = words.finite(line.get("t"))
    after = words.seconds(t - start) if t is not None and start is not None else words.NONE
    heavy = "strong" if line["kind"] in ("look", "end", "stop", "finding") else None
    when = tag("span", after, class_="when", title=words.moment(t))
    return tag("li", when, tag("span", said, class_=heavy))
