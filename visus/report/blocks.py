"""Blocks of a page that several sections use: figures, tables, pictures, facts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.markup import join as join
from visus.report.markup import tag as tag

TALL = 40  # rows; a longer table scrolls under its heading
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def lead(*children: Any) -> Markup:
    """The sentence that says what a section shows and how to read it."""
    return tag("p", *children, class_="lead")


def figure(title: str, chart: Markup, *under: Any) -> Markup:
    """A titled picture, with what belongs under it."""
    return tag("figure", tag("figcaption", title), chart, *under)


@dataclass(frozen=True)
class Column:
    """A table column; numbers go to the right, `sort` gives the header a sorting button."""

    name: str
    numeric: bool = False
    sort: bool = False


@dataclass(frozen=True)
class Cell:
    """A table cell with its sorting `key`; `share` (0 to 1) draws a bar behind it."""

    body: Any
    key: Any = None
    share: float | None = None
    color: str = "train"


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], label: str, *, small: bool = False
) -> Markup:
    """A table that scrolls in its own frame where it is wider than the page.

    A `small` one is only as wide as its words.
    """
    head = tag("tr", [_heading(column) for column in columns])
    body = [
        tag("tr", [_cell(c, column) for c, column in zip(row, columns, strict=True)])
        for row in rows
    ]
    made = tag("table", tag("thead", head), tag("tbody", body), class_="small" if small else None)
    return tag(
        "div",
        made,
        class_="scroll tall" if len(rows) > TALL else "scroll",
        tabindex=0,
        role="region",
        aria_label=label,
    )


def _heading(column: Column) -> Markup:
    inside = tag("button", column.name, type="button") if column.sort else column.name
    return tag("th", inside, scope="col", class_="number" if column.numeric else None)


def _cell(cell: Any, column: Column) -> Markup:
    if not isinstance(cell, Cell):
        cell = Cell(cell)
    body, kind = cell.body, "number" if column.numeric else None
    if cell.share is not None:
        fill = f"--w:{100 * min(max(cell.share, 0), 1):.1f}%"
        bar = tag("span", class_=f"bar c-{cell.color}", style=fill)
        body = tag("span", bar, tag("span", body, class_="value"), class_="barred")
    return tag("td", body, class_=kind, data_key=cell.key)


def folded(summary: str, *children: Any) -> Markup:
    """What only some readers want: closed until asked for."""
    return tag("details", tag("summary", summary), *children)


def facts(pairs: Sequence[tuple[str, Any]]) -> Markup:
    """Names and values, one a line."""
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs]
    return tag("dl", rows, class_="facts")


def picture(png: Any, alt: str) -> Markup:
    """A base64 PNG as an image; an empty frame where it is no such thing."""
    if not isinstance(png, str) or not _BASE64.fullmatch(png):
        return tag("span", "no image", class_="noimage")
    return tag("img", src=f"data:image/png;base64,{png}", alt=alt)


def flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """A nested table as dotted names and values; lists stay values."""
    if isinstance(value, dict) and value:
        inner = [flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items()]
        return [pair for pairs in inner for pair in pairs]
    return [(name, value)]


def code(value: Any) -> Markup:
    empty = {"[]": "[]", "{}": "{}", "None": "not set"}.get(repr(value))
    return tag("code", empty or words.text(value))


def rest(shown: int, of: int, what: str) -> Markup | None:
    """The line that says how many are not shown."""
    left = of - shown
    return (
        tag("p", f"and {words.some(left, what)} more in the ledger", class_="note")
        if left > 0
        else None
    )
