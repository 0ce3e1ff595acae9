"""Confusion: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from visus.report import lettering, words
from visus.report.blocks import figure, join, lead
from visus.report.charts import Bar, bar_chart, heat_map
from visus.report.section import OfClasses, sections
from visus.report.story import Story

MOST_CLASSES, MOST_PAIRS = 100, 10


@sections.member
class Confusion(OfClasses):
    title, place, reads = "Confusion", 50, ("confusion",)

    def body(self, story: Story) -> Markup | None:
        line = story.last("confusion")
        names, matrix = _square(story, line)
        if not names:
            return None
        total, right = sum(map(sum, matrix)), sum(matrix[i][i] for i in range(len(names)))
        shown, small = _worst(names, matrix)
        some = (
            f" Shown are the {len(shown)} of {len(names)} classes with most confusions."
            if len(shown) < len(names)
            else ""
        )
        return join(
            lead(f"On the {line.get('split') or 'held-out'} images, {words.whole(right)} of "
                 f"{words.whole(total)} {'thousand pixels ' * (line.get('unit') == 'thousand pixels')}are right (blue, on the diagonal). Orange cells are mistakes, "
                 f"stronger where a larger share of the row's class is misjudged.{some}"),
            figure("Confusion matrix", heat_map("Confusion matrix", shown, small, "true class", "predicted class")),
            _pairs(names, matrix),
        )  # fmt: skip


def _square(story: Story, line: dict) -> tuple[list[str], list[list[float]]]:
    """The matrix as numbers, cut to a square with a name for each row."""
    rows = [row for row in words.listed(line.get("matrix")) if isinstance(row, list)]
    n = min([len(rows), *map(len, rows)])
    given = words.listed(line.get("classes")) or story.classes
    names = [str(given[i]) if i < len(given) else f"class {i}" for i in range(n)]
    return names, [[max(words.finite(v) or 0.0, 0.0) for v in row[:n]] for row in rows[:n]]


def _worst(names: list[str], matrix: list[list[float]]) -> tuple[list[str], list[list[float]]]:
    """With very many classes: those with most mistakes in their row and column."""
    n = len(names)
    if n <= MOST_CLASSES:
        return names, matrix
    wrong = [sum(matrix[i]) + sum(row[i] for row in matrix) - 2 * matrix[i][i] for i in range(n)]
    kept = sorted(sorted(range(n), key=lambda i: -wrong[i])[:MOST_CLASSES])
    return [names[i] for i in kept], [[matrix[i][j] for j in kept] for i in kept]


def _pairs(names: Sequence[str], matrix: list[list[float]]) -> Markup | None:
    found = [
        (count, i, j)
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    found.sort(key=lambda pair: -pair[0])
    bars = [
        Bar(f"{lettering.cut(names[i], 18)} → {lettering.cut(names[j], 18)}", [(count, "wrong")], None,
            f"{words.whole(count)} of {words.whole(sum(matrix[i]))}")
        for count, i, j in found[:MOST_PAIRS]
    ]  # fmt: skip
    if not bars:
        return None
    return figure(
        "Most frequent confusions: true → predicted", bar_chart("Most frequent confusions", bars)
    )
