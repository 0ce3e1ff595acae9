"""The task and its measures, each with its interval."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import Cell, Column, join, lead, table
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class Measures(Section):
    title, place, reads = "Measures", 45, ("metrics", "task")
    of = ("task", "run")  # where it has nothing to show, the page does not say so

    def body(self, story: Story) -> Markup | None:
        line, task = story.last("metrics"), story.last("task")
        rows = words.tables(line.get("rows"))
        if not rows:
            return None
        heads = [Column("measure"), Column("value", True), Column("95 % interval", True),
                 Column("better")]  # fmt: skip
        said = (
            f"The task: {words.text(task.get('name'))} ({words.text(task.get('how'))}). "
            if task
            else ""
        )
        return join(
            lead(said, f"Measured on the {line.get('split') or 'held-out'} images; the intervals are of "
                 "draws of these images with replacement."),
            table(heads, [_row(row) for row in rows], "Measures", small=True),
        )  # fmt: skip


def _row(row: dict) -> list[Any]:
    tell = words.percent if row.get("unit") == "share" else words.plain
    share = words.finite(row.get("value")) if row.get("unit") == "share" else None
    bounds = row.get("interval")
    known = isinstance(bounds, list) and len(bounds) == 2 and None not in map(words.finite, bounds)
    between = f"{tell(bounds[0])} to {tell(bounds[1])}" if known and bounds else words.NONE
    return [words.text(row.get("name")), Cell(tell(row.get("value")), share, share),
            between, "higher" if row.get("better") == "high" else "lower"]  # fmt: skip
