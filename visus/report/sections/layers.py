"""The layers of the network: shapes, parameters, work, how far each one sees."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import Cell, Column, join, lead, table, tag
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class Layers(Section):
    title, place, reads = "Network", 100, ("model",)

    def body(self, story: Story) -> Markup | None:
        line = story.last("model")
        if not line:
            return None
        rows = words.tables(line.get("layers"))
        head = lead(f"{words.text(line.get('name'))}: {words.short(line.get('parameters'))} parameters"
                    f"{_work(line)}. The receptive field is the side of the square of input pixels "
                    "that one output of the layer can see.")  # fmt: skip
        return join(head, _table(rows) if rows else None)


def _work(line: dict) -> str:
    known = words.finite(line.get("flops"))
    return f", {words.short(known)} floating point operations an image" if known is not None else ""


def _table(rows: list[dict]) -> Markup:
    heads = [Column("layer"), Column("type"), Column("output"), Column("parameters", True),
             Column("FLOPs", True), Column("receptive field", True)]  # fmt: skip
    most = {key: max((words.finite(row.get(key)) or 0.0 for row in rows), default=0.0)
            for key in ("parameters", "flops")}  # fmt: skip
    return table(heads, [_row(row, most) for row in rows], "Layers of the network")


def _row(row: dict, most: dict[str, float]) -> list[Any]:
    return [
        tag("span", words.text(row.get("name")), class_="nowrap"),
        words.text(row.get("type")),
        words.shape(row.get("output")),
        _amount(row.get("parameters"), most["parameters"], "train"),
        _amount(row.get("flops"), most["flops"], "validation"),
        _field(row.get("receptive_field")),
    ]


def _amount(value: Any, most: float, color: str) -> Cell:
    known = words.finite(value)
    share = known / most if known and most else 0.0
    return Cell(words.short(value), known, share, color)


def _field(value: Any) -> str:
    return f"{words.text(value)} px" if words.finite(value) is not None else words.shape(value)
