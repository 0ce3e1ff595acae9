"""Pictures of evidence: one for each kind of value, none for any rule.

The evidence of a finding is a table of named values. What a value looks like decides how it
is drawn; a new kind of evidence is one more class here:

    0.8                                   a number
    {"value": 0.8, "threshold": 0.4}      a number against its threshold, as bars
    {"x": [...], "y": [...]} or [...]     a curve
    {"conv1": 0.1, "conv2": 0.7}          a number at each place, as bars
    [{"png": ..., "label": ...}]          images
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from markupsafe import Markup

from visus.family import Family
from visus.report import words
from visus.report.blocks import facts, figure, flat, picture, tag
from visus.report.charts import Axis, Bar, Series, bar_chart, line_chart

pictures = Family("kind of evidence")
MOST = 48


class Kind:
    """One kind of evidence: whether a value is of this kind, and its picture."""

    first: ClassVar[int] = 0  # kinds are asked in this order

    def fits(self, value: Any) -> bool:
        raise NotImplementedError

    def draw(self, name: str, value: Any) -> Markup:
        raise NotImplementedError


def draw(evidence: Any) -> list[Markup]:
    """The pictures of an evidence table, plain numbers together in a list at the end."""
    table = paired(evidence) if isinstance(evidence, dict) else {}
    kinds = sorted((make() for make in pictures.values()), key=lambda kind: kind.first)
    drawn, loose = [], []
    for name, value in table.items():
        kind = next((kind for kind in kinds if kind.fits(value)), None)
        if kind is None:
            loose += flat(value, name)
        else:
            drawn.append(kind.draw(name.replace("_", " "), value))
    if loose:
        drawn.append(facts([(name.replace("_", " "), _value(value)) for name, value in loose]))
    return drawn


def _value(value: Any) -> str:
    return words.text(value) if words.number(value) is None else words.plain(value, 4)


def paired(table: dict) -> dict[str, Any]:
    """`share` and `share_threshold` side by side become one value with its threshold."""
    made = dict(table)
    for name in table:
        for limit in (f"{name}_threshold", f"{name}.threshold", f"{name} threshold"):
            if limit in made and words.finite(table[name]) is not None:
                made[name] = {"value": table[name], "threshold": made.pop(limit)}
    return made


@pictures.member
class Threshold(Kind):
    """A number against the threshold it crossed."""

    first = 10

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict) and {"value", "threshold"} <= value.keys() and all(
            words.finite(value[key]) is not None for key in ("value", "threshold")
        )  # fmt: skip

    def draw(self, name: str, value: Any) -> Markup:
        found, limit = float(value["value"]), float(value["threshold"])
        said = f"{words.plain(found)} (threshold {words.plain(limit)})"
        bars = [Bar("measured", [(abs(found), "wrong")], abs(limit), said)]
        return figure(name, bar_chart(f"{name} against its threshold", bars, format=words.plain))


@pictures.member
class Curve(Kind):
    """A value over steps, or over any other number."""

    first = 20

    def fits(self, value: Any) -> bool:
        return bool(points(value))

    def draw(self, name: str, value: Any) -> Markup:
        xs, ys = zip(*points(value), strict=True)
        label = str(value.get("x_label", "step")) if isinstance(value, dict) else "step"
        chart = line_chart(
            name, [Series("value", xs, ys)], Axis(label, words.plain), Axis(name, words.plain)
        )
        return figure(name, chart)


def points(value: Any) -> list[tuple[float, float]]:
    """Points of {"x", "y"}, of [[x, y], ...] or of a plain list of numbers; [] for others."""
    if (
        isinstance(value, dict)
        and isinstance(value.get("x"), list)
        and isinstance(value.get("y"), list)
    ):
        value = [list(pair) for pair in zip(value["x"], value["y"], strict=False)]
    if not isinstance(value, list) or len(value) < 2:
        return []
    pairs = [item if isinstance(item, list) else [n, item] for n, item in enumerate(value)]
    known = [(words.finite(p[0]), words.number(p[1])) for p in pairs if len(p) == 2]
    found = [(x, y) for x, y in known if x is not None and y is not None]
    return sorted(found, key=lambda p: p[0]) if len(found) == len(value) else []


@pictures.member
class Places(Kind):
    """A number at each place (layer, class), as bars."""

    first = 30

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict) and len(value) > 1 and all(
            words.number(item) is not None for item in value.values()
        )  # fmt: skip

    def draw(self, name: str, value: Any) -> Markup:
        bars = [Bar(str(place), [(number, "train")], None, words.plain(number))
                for place, item in list(value.items())[:MOST]
                if not math.isnan(number := words.number(item) or 0.0)]  # fmt: skip
        return figure(name, bar_chart(f"{name} by place", bars, format=words.plain))


@pictures.member
class Images(Kind):
    """Example images."""

    first = 5

    def fits(self, value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(
            isinstance(item, dict) and "png" in item for item in value
        )  # fmt: skip

    def draw(self, name: str, value: Any) -> Markup:
        cards = [
            tag(
                "li",
                picture(item["png"], words.text(item.get("label"))),
                tag("p", words.text(item.get("label"))),
            )
            for item in value[:MOST]
        ]
        return figure(name, tag("ul", cards, class_="sheet"))
