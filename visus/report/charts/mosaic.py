"""The mosaic: rows against columns, the strength of a color is the value of a tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from visus.report import lettering, words
from visus.report.charts.frame import SLIM, both, svg, words_at
from visus.report.markup import tag

Table = Sequence[Sequence[float | None]]


def mosaic(
    title: str, rows: Sequence[str], columns: Sequence[str], table: Table, *,
    x_label: str, color: str = "train", say: Callable[[float], str] = words.percent,
    most: float = 1.0,
) -> Markup:  # fmt: skip
    """Named rows over columns; a tile of `most` or more has the full color, None is left open.

    Tiles that are wide enough carry their number.
    """
    return both(lambda width: _draw(width, title, rows, columns, table, x_label, color, say, most))


def small_mosaic(
    title: str, rows: Sequence[str], columns: Sequence[str], table: Table, *,
    x_label: str, color: str = "train", say: Callable[[float], str] = words.percent,
    most: float = 1.0, tile: float = 6.0,
) -> Markup:  # fmt: skip
    """One of many small ones, side by side: low tiles, and names at some rows only."""
    drawn = _draw(SLIM, title, rows, columns, table, x_label, color, say, most, tile)
    return tag("div", drawn, class_="chart")


def _draw(
    width, title, rows, columns, table: Table, x_label, color, say, most, tile=20.0
) -> Markup:
    longest = max((lettering.width(name) for name in rows), default=0)
    room = min(longest, 12 if width < 500 else 30)
    left, top = 12 + 6.9 * room, 4.0
    wide = (width - left - 8) / max(len(columns), 1)
    names = [
        words_at(left - 7, top + tile * n + tile / 2 + 4, lettering.cut(name, room), "end", "tick")
        for n, name in enumerate(rows)
        if name
    ]
    cells = [
        _tile(f"{rows[i] or title}, {x_label} {columns[j]}: {say(v)}", v, left + j * wide, top + i * tile,
              wide, tile, color, most)
        for i, row in enumerate(table) for j, v in enumerate(row) if v is not None and v == v
    ]  # fmt: skip
    bottom = top + tile * len(rows)
    label = words_at(left + wide * len(columns) / 2, bottom + 33, x_label, "middle", "label")
    desc = f"{len(rows)} rows over {len(columns)} columns."
    marks = _columns(columns, left, wide, bottom)
    return svg(width, bottom + 39, title, desc, names, cells, marks, label)


def _tile(said, value, x, y, wide, tall, color, most) -> Markup:
    strength = 1.0 if math.isinf(value) else min(max(value / most, 0.0), 1.0)
    gap = 1.0 if tall > 12 else 0.0
    area = tag("rect", x=x + gap / 2, y=y + gap / 2, width=max(wide - gap, 0.5), height=tall - gap,
               class_=f"cell c-{color}", style=f"--s:{100 * strength:.0f}%")  # fmt: skip
    text = None
    if wide >= 44 and tall >= 18:  # room for the number itself
        deep = "count deep" if strength > 0.62 else "count"
        text = words_at(x + wide / 2, y + tall / 2 + 4, said.rsplit(": ", 1)[-1], "middle", deep)
    return tag("g", tag("title", said), area, text)


def _columns(columns: Sequence[str], left: float, wide: float, bottom: float) -> list[Markup]:
    """The names of as many columns as have room, evenly."""
    longest = max((lettering.width(name) for name in columns), default=1)
    every = max(1, math.ceil((6.9 * longest + 10) / max(wide, 0.1)))
    return [
        words_at(left + (j + 0.5) * wide, bottom + 16, name, "middle", "tick")
        for j, name in enumerate(columns)
        if j % every == 0
    ]
