"""The environment: program, machine, threads, speed."""

from __future__ import annotations

import statistics
from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import code, facts, figure, flat, join
from visus.report.charts import Bar, bar_chart
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class Environment(Section):
    title, place, reads = "Environment", 120, ("environment", "run", "threads", "step")

    def body(self, story: Story) -> Markup | None:
        run, found = story.last("run"), {}
        for line in story.all("environment"):
            found |= {key: value for key, value in line.items() if key not in ("kind", "t")}
        pairs: list[tuple[str, Any]] = [
            (f"{'visus ' if key == 'version' else ''}{key}", code(run[key]))
            for key in ("version", "command", "folder")
            if run.get(key) is not None
        ]
        pairs += flat(found) if found else []
        pairs += _speed(story)
        if not pairs:
            return None
        shown = [(name, v if isinstance(v, Markup) else words.text(v)) for name, v in pairs]
        return join(facts(shown), _threads(story.last("threads")))


def _speed(story: Story) -> list[tuple[str, str]]:
    speeds = [v for line in story.all("step") if (v := words.finite(line.get("images_per_second")))]
    return (
        [("speed", f"{words.whole(statistics.median(speeds))} images/s (median)")] if speeds else []
    )


def _threads(line: dict) -> Markup | None:
    timings = line.get("timings")
    if isinstance(timings, list):
        timings = {str(n): value for n, value in filter(_paired, timings)}
    if not isinstance(timings, dict):
        return None
    bars = [
        Bar(
            words.some(n, "thread"),
            [(value, "train" if str(n) == str(line.get("chosen")) else "soft")],
        )
        for n, seconds in sorted(timings.items(), key=lambda pair: words.finite(pair[0]) or 0)
        if (value := words.finite(seconds)) is not None
    ]
    chart = bar_chart("Time of a step by threads", bars, format=_milliseconds)
    return figure("Thread probe: time of a training step", chart) if bars else None


def _paired(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2


def _milliseconds(value: float) -> str:
    return f"{words.plain(1000 * value)}\u202fms"
