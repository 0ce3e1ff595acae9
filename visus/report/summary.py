"""What is said at the end of a run: the answer, the findings, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from rich.console import Group
from rich.text import Text

from visus.ledger import Line
from visus.report import events, words
from visus.report.letter import letter
from visus.report.page import NAME
from visus.report.spoken import Spoken
from visus.report.story import Story


def summary(lines: Iterable[Line]) -> Spoken:
    """The end of a run, to print: the error with its interval, findings, files, what to do next.

    `console.print(summary(lines), soft_wrap=True)` keeps long paths whole in a pipe.
    """
    lines = list(lines)
    story, found = Story(lines), letter(lines)
    said = [_headline(story), _validation(story), _ending(story)]
    texts = [Text(text, style="" if n else "bold") for n, text in enumerate(said) if text]
    parts = [*texts, *([Text(), found] if found is not None else []), *_files(story)]
    return Spoken(Group(*parts))


def _headline(story: Story) -> str:
    look, looks = story.test, len(story.looks)
    error = words.finite(look.get("error"))
    if error is None:
        return "No look at test was taken: there is no test error."
    bounds = words.interval(look.get("interval"))
    said = f" (95 % interval {bounds})" if bounds else ""
    n = (
        f" on {words.some(look['n'], story.item)}"
        if words.finite(look.get("n")) is not None
        else ""
    )
    return (
        f"Test error {words.percent(error)}{said}{n}; {words.some(looks, 'look')} at test so far."
    )


def _validation(story: Story) -> str:
    best, out = story.best, story.outcome
    if not best:
        early = story.status == "done" and story.last("stop").get("reason") == "time-limit"
        return "No epoch was finished: getting ready took the time; give more, or --epochs." * early
    said = f"Best validation error {words.percent(best.get('validation_error'))} at epoch {words.text(best.get('epoch'))}"
    if title := out.get("treated"):
        said += f"; {words.percent(out['validation_error'])} as the model went out, with {title[:1].lower()}{title[1:]}"
    return f"{said}."


def _ending(story: Story) -> str:
    stop, end, took = story.last("stop"), story.end, words.seconds(story.seconds)
    reason = events.why(stop["reason"]) if stop.get("reason") is not None else ""
    if story.status == "failed":
        return f"It failed after {took}: {words.text(end.get('message'))}"
    after = f" after {took}" if took != words.NONE else ""
    return f"Stopped{after}: {reason}." if reason else f"At work for {took}." if after else ""


def _files(story: Story) -> list[Text]:
    folder = story.last("run").get("folder")
    if not isinstance(folder, str):
        return []
    quoted = shlex.quote(folder)
    pairs = [("run", folder), ("report", str(Path(folder) / NAME))]
    if story.status == "done":
        pairs += [
            ("look", f"visus report {quoted} --open"),
            ("use", f"visus predict {quoted} IMAGE..."),
        ]
    elif story.all("checkpoint"):
        pairs.append(("go on", f"visus train --resume {quoted}"))
    rows = [Text(f"{name:>8}  ", style="dim").append(said, style="not dim") for name, said in pairs]
    return [Text(), *rows]
