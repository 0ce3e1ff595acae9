"""The frame of a chart: the svg element, its title and description, axes, grid, labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from visus.report.charts.scale import Scale
from visus.report.markup import tag

WIDE, SLIM = 880, 328


@dataclass(frozen=True)
class Box:
    """The drawing area inside a chart of `width` x `height` pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def slim(self) -> bool:
        return self.width <= SLIM


def both(draw: Callable[[float], Markup], class_: str = "chart", wide: float = WIDE) -> Markup:
    """The chart for a desktop and for a phone; the page's style sheet shows one of them."""
    large, slim = draw(wide), draw(SLIM)
    if large == slim:  # too large for either: it scrolls in both
        return tag("div", large, class_=class_)
    return tag(
        "div", tag("div", large, class_="wide"), tag("div", slim, class_="slim"), class_=class_
    )


def svg(
    width: float, height: float, title: str, desc: str, *children: Any, class_: str | None = None
) -> Markup:
    """An svg element that says what it shows to those who cannot see it."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", desc),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        class_=class_,
    )


def words_at(x: float, y: float, text: Any, anchor: str = "start", class_: str = "", **more: Any):
    """A text element; `anchor` is start, middle or end."""
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_=class_ or None, **more)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def grid(box: Box, x: Scale, y: Scale) -> list[Markup]:
    """Grid lines, tick labels and the names of both axes."""
    bottom, right = box.height - box.bottom, box.width - box.right
    return [
        *(line(box.left, y(t), right, y(t), "grid") for t in y.ticks),
        *(words_at(box.left - 7, y(t) + 4, y.axis.tick(t), "end", "tick") for t in y.ticks),
        line(box.left, bottom, right, bottom, "axis"),
        *(line(x(t), bottom, x(t), bottom + 4, "axis") for t in x.ticks),
        *(words_at(x(t), bottom + 18, x.axis.tick(t), "middle", "tick") for t in x.ticks),
        words_at((box.left + right) / 2, box.height - 4, x.axis.label, "middle", "label"),
        words_at(4, 13, y.axis.label, "start", "label"),
    ]
