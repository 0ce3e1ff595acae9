"""Precision and recall of each class."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import Cell, Column, join, lead, table
from visus.report.section import OfClasses, sections
from visus.report.story import Story


@sections.member
class PerClass(OfClasses):
    title, place, reads = "Classes one by one", 70, ("per-class",)

    def body(self, story: Story) -> Markup | None:
        line = story.last("per-class")
        rows = words.tables(line.get("rows"))
        if not rows:
            return None
        rows.sort(key=_hardest)
        columns = [Column("class", sort=True), Column("recall", True, True),
                   Column("precision", True, True), Column("images", True, True)]  # fmt: skip
        return join(
            lead("Recall: of the images of a class, the share found. Precision: of the images "
                 f"given that name, the share that bear it. On the {line.get('split') or 'held-out'} images, "
                 "the hardest class first; press a heading to sort."),
            table(columns, [_row(story, row) for row in rows], "Precision and recall by class"),
        )  # fmt: skip


def _hardest(row: dict) -> tuple[bool, float]:
    """Least recall first; classes without images, whose recall is unknown, last."""
    recall = words.finite(row.get("recall"))
    return recall is None, recall or 0.0


def _row(story: Story, row: dict) -> list[Any]:
    name = story.label(row.get("class"))
    return [
        Cell(name, name),
        _share(row.get("recall"), "train"),
        _share(row.get("precision"), "test"),
        Cell(words.whole(row.get("n")), words.finite(row.get("n"))),
    ]


def _share(value: Any, color: str) -> Cell:
    known = words.finite(value)
    return Cell(words.percent(value), -1 if known is None else known, known or 0.0, color)
