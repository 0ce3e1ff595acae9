"""The heat map of a square table: the diagonal in one color, all else in another."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from visus.report import lettering, words
from visus.report.charts.frame import WIDE, both, svg, words_at
from visus.report.markup import tag

Table = Sequence[Sequence[float]]
NUMBERED = 21.0  # pixels a cell needs for its number


def heat_map(title: str, names: Sequence[str], table: Table, rows: str, columns: str) -> Markup:
    """Rows are read against their sum: a full cell holds all of its row.

    Cells too small for numbers carry titles only, and the page scrolls what is wider than
    itself. `rows` and `columns` name the axes. The strength of an error grows with the
    square root of its share, so that a few in a hundred are seen.
    """
    return both(lambda width: _draw(width, title, names, table, rows, columns), "chart scroll")


def _draw(width: float, title: str, names: Sequence[str], table: Table, rows, columns) -> Markup:
    n, slim = max(len(names), 1), width < 500
    room = min(
        max((lettering.width(name) for name in names), default=0), 9 if slim or n > 40 else 18
    )
    cell, font = _cell(width, n, room)
    left = 28 + 0.6 * font * room
    turned = 0.62 * font * room > cell - 2  # names that fit their column stand upright
    top, wide = left if turned else 40.0, left + n * cell + 6
    label = [words_at(left, 13, f"{columns} →", "start", "label"),
             words_at(12, top + n * cell / 2, f"← {rows}", "middle", "label",
                      transform=f"rotate(-90 12 {top + n * cell / 2:.1f})")]  # fmt: skip
    middle = [(i + 0.5) * cell for i in range(len(names))]
    heads = [
        _head(name, left - 6, top + at + 0.35 * font, room, font, "end")
        for name, at in zip(names, middle, strict=True)
    ] + [
        _head(
            name,
            left + at + 0.35 * font * turned,
            top - 6,
            room,
            font,
            "start" if turned else "middle",
            turned,
        )
        for name, at in zip(names, middle, strict=True)
    ]
    full = _worst_share(table)
    cells = [_row(i, names, table[i], left, top + i * cell, cell, full) for i in range(len(names))]
    right = sum(table[i][i] for i in range(len(names)))
    total = sum(map(sum, table)) or 1
    desc = f"{len(names)} classes; {words.percent(right / total)} on the diagonal are right."
    big = "big" if wide > 1.1 * width else None  # keeps its size, and scrolls
    return svg(wide, top + n * cell + 8, title, desc, label, heads, cells, class_=big)


def _cell(width: float, n: int, room: float) -> tuple[float, float]:
    """Cell and font size: all of the width for few names, a readable least for many."""
    font = 8.0 if n > 40 else 10.0 if n > 24 or width < WIDE else 12.0
    least = 8.2 if n > 40 else 17.0
    fits = (width - 34 - 0.6 * font * room) / n
    return min(max(fits, least), 52.0 if width == WIDE else 60.0), font


def _head(
    name: str, x: float, y: float, room: float, font: float, anchor: str, turned=False
) -> Markup:
    spin = f"rotate(-90 {x:.1f} {y:.1f})" if turned else None
    text = words_at(x, y, lettering.cut(name, room), anchor, "tick", transform=spin, font_size=font)
    return tag("g", tag("title", name), text)


def _worst_share(table: Table) -> float:
    """The share that gets the full color of an error: the worst one, but 10 % at least."""
    shares = [
        v / sum(row) for i, row in enumerate(table) for j, v in enumerate(row) if i != j and v
    ]
    return max([0.1, *shares])


def _row(i: int, names: Sequence[str], row: Sequence[float], left, y, cell, full) -> list[Markup]:
    total = sum(row)
    return [
        _one(names[i], names[j], row[j], total, i == j, left + j * cell, y, cell, full)
        for j in range(len(names))
        if row[j] or i == j or cell >= NUMBERED
    ]


def _one(true, said, count, total, right, x, y, cell, full) -> Markup:
    share = count / total if total else 0.0
    strength = share if right else 0.9 * math.sqrt(share / full)
    hue = "right" if right else "wrong"
    gap = 1.0 if cell > 14 else 0.4
    area = tag("rect", x=x + gap / 2, y=y + gap / 2, width=cell - gap, height=cell - gap,
               rx=2 if cell > 14 else None, class_=f"cell c-{hue}",
               style=f"--s:{100 * strength:.0f}%")  # fmt: skip
    verb = "right" if right else f"taken for {said}"
    title = tag("title", f"{true}: {words.whole(count)} of {words.whole(total)} {verb}")
    text = None
    if cell >= NUMBERED and count:
        deep = " deep" if strength > 0.62 else ""
        figure = words.whole(count) if cell > 34 else words.short(count).replace("\u202f", "")
        size = 12.0 if cell > 34 else 9.5
        text = words_at(
            x + cell / 2, y + cell / 2 + 4, figure, "middle", f"count{deep}", font_size=size
        )
    return tag("g", title, area, text)
