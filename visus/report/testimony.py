"""Pictures from signals for a finding: what was measured where it says, since when.

One picture for each kind of testimony and none for any rule. A kind fits by what the finding
names (its place, its evidence) and by what was measured there; a new kind is one more class.
"""

from __future__ import annotations

import math
from typing import ClassVar

from markupsafe import Markup

from visus.family import Family
from visus.ledger import Line
from visus.report import words
from visus.report.blocks import figure
from visus.report.charts import Axis, Mark, Series, line_chart
from visus.report.sections.flow import flow_chart
from visus.report.sections.landscape import landscape_chart
from visus.report.seen import Points, Seen

testimonies = Family("kind of testimony")
SHARES = frozenset({"dead", "saturated", "zero", "error"})
COLORS = ("train", "validation", "test", "soft")


class Testimony:
    """One kind: its picture for a finding, or None where it has nothing to show."""

    first: ClassVar[int] = 0  # kinds are asked in this order

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        raise NotImplementedError


def testify(line: Line, seen: Seen) -> Markup | None:
    """The first picture that the signals give for a finding, or None."""
    kinds = sorted((make() for make in testimonies.values()), key=lambda kind: kind.first)
    return next((drawn for kind in kinds if (drawn := kind.draw(line, seen)) is not None), None)


def places(line: Line) -> list[str]:
    """The layers or parts that a finding names."""
    return [part.strip() for part in words.text(line.get("where")).split(" and ")[0].split(",")]


def course(
    title: str, named: dict[str, Points], line: Line, unit: str, percent: bool
) -> Markup | None:
    """Curves over steps, with a mark where the finding begins."""
    series = []
    for (name, points), color in zip(named.items(), COLORS, strict=False):
        if len(points) > 1:
            xs, ys = zip(*points, strict=True)
            series.append(Series(name, xs, ys, color))
    if not series:
        return None
    step = words.finite(line.get("first_step"))
    marks = [Mark(step, f"step {words.whole(step)}")] if step else []
    form = words.percent if percent else words.plain
    log = not percent and _far(series)
    chart = line_chart(title, series, Axis("step", words.whole, whole=True),
                       Axis(unit, form, log=log, zero=percent), marks=marks)  # fmt: skip
    return figure(title, chart)


def _far(series: list[Series]) -> bool:
    values = [v for one in series for v in one.ys if math.isfinite(v)]
    return bool(values) and min(values) > 0 and max(values) > 25 * min(values)


@testimonies.member
class Measured(Testimony):
    """A quantity that the evidence names and that was measured at the very place."""

    first = 10

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        evidence = line.get("evidence")
        for name in evidence if isinstance(evidence, dict) else ():
            named = {place: seen.series(place, name) for place in places(line)}
            named = {place: points for place, points in named.items() if len(points) > 1}
            if named:
                said = name.replace("_", " ")
                return course(f"{said.capitalize()} over time", named, line, said, name in SHARES)
        return None


@testimonies.member
class Passage(Testimony):
    """Layers far apart, or of unlike size: the flow through all of them."""

    first = 20
    BACK: ClassVar = frozenset({"ratio", "depth", "gradient_first", "gradient_last", "gradient"})
    FORTH: ClassVar = frozenset({"rms", "spread", "scale", "input_rms", "gain"})

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        evidence = line.get("evidence")
        names = set(evidence) if isinstance(evidence, dict) else set()
        here = set(places(line)) & set(seen.layers)
        strong = words.text(line.get("where"))
        if here and names & self.BACK:
            return flow_chart(
                "The gradient on its way back",
                seen.by_layer("gradient"),
                "root mean square of the weights' gradient",
                strong=strong,
            )
        if here and names & self.FORTH:
            return flow_chart(
                "The signal on its way forward",
                seen.by_layer("rms"),
                "root mean square of the response",
                strong=strong,
            )
        return None


@testimonies.member
class Step(Testimony):
    """The optimizer: the loss along the gradient, else the course of the loss."""

    first = 30

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        if places(line) != ["optimizer"]:
            return None
        lines = seen.landscapes()
        return landscape_chart(lines) if lines else None


@testimonies.member
class Course(Testimony):
    """The whole network: training against validation, else the training loss."""

    first = 40

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        if places(line)[0] in seen.layers:
            return None
        for quantity in ("error", "loss"):
            found = seen.series("validation", quantity)
            if len(found) > 1 and places(line) == ["network"]:
                mine = seen.series("train", quantity) if quantity == "error" else seen.losses()
                named = {"training": mine, "validation": found}
                return course(
                    f"Training and validation {quantity}",
                    named,
                    line,
                    quantity,
                    quantity == "error",
                )
        return course("Training loss", {"training loss": seen.losses()}, line, "loss", False)
