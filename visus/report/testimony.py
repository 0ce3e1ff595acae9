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
from visus.report.blocks import figure, join, tag
from visus.report.charts import Axis, Lane, Mark, Series, lane_chart, line_chart
from visus.report.sections.flow import flow_chart
from visus.report.sections.histograms import histogram
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
    log = not percent and far(series)
    chart = line_chart(title, series, Axis("step", words.whole, whole=True),
                       Axis(unit, form, log=log, zero=percent), marks=marks)  # fmt: skip
    return figure(title, chart)


def far(series: list[Series]) -> bool:
    """True where the values are positive and so far apart that an axis should be logarithmic."""
    values = [v for one in series for v in one.ys if math.isfinite(v)]
    return bool(values) and min(values) > 0 and max(values) > 25 * min(values)


@testimonies.member
class Measured(Testimony):
    """A quantity that the evidence names and that was measured at the very layers."""

    first = 10

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        evidence = line.get("evidence")
        for name in evidence if isinstance(evidence, dict) else ():
            named = {
                place: seen.series(place, name) for place in places(line) if place in seen.layers
            }
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
                seen,
                strong=strong,
            )
        if here and names & self.FORTH:
            return flow_chart(
                "The signal on its way forward",
                seen.by_layer("rms"),
                "root mean square of the response",
                seen,
                strong=strong,
            )
        return None


@testimonies.member
class Standstill(Testimony):
    """Layers that no step moves, among those that move: the update of each layer."""

    first = 15

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        moved = seen.by_layer("update")
        still = [place for place in places(line) if place in seen.layers and place not in moved]
        if not still or not moved:
            return None
        rest: Points = [(0.0, 0.0)]
        series = {
            place: moved.get(place, rest)
            for place in seen.layers
            if place in moved or place in still
        }
        title = "How far a step moves each layer (×: not at all)"
        return flow_chart(
            title,
            series,
            "length of one step over length of the weights",
            seen,
            strong=", ".join(still),
        )


@testimonies.member
class Passed(Testimony):
    """A layer: what it passes on, over time."""

    first = 35

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        found = seen.histograms("activation")
        here = [place for place in places(line) if place in found][:3]
        if not here:
            return None
        cards = [figure(seen.title(place), histogram(place, found[place])) for place in here]
        return join(
            tag("h4", "What it passes on, over time"), tag("div", cards, class_="multiples")
        )


@testimonies.member
class Given(Testimony):
    """The input: what the network is given beside what fresh weights expect."""

    first = 5

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        low, size, high = (_last(seen, name) for name in ("min", "rms", "max"))
        if not places(line)[0].startswith("input") or low is None or size is None or high is None:
            return None
        lanes = [Lane("given", [(low, "soft", f"smallest {words.plain(low)}"), (high, "soft", f"largest {words.plain(high)}"),
                                (size, "wrong", f"root mean square {words.plain(size)}")], bar="soft", strong=True),
                 Lane("expected", [(-2, "soft", "about -2"), (2, "soft", "about 2"), (1, "train", "root mean square 1")], bar="soft")]  # fmt: skip
        keys = [
            ("smallest and largest", "soft"),
            ("root mean square", "wrong"),
            ("expected", "train"),
        ]
        chart = lane_chart(
            "What the network is given", lanes, Axis("value of the input", words.plain), keys=keys
        )
        return figure("What the network is given, and what fresh weights expect", chart)


def _last(seen: Seen, quantity: str) -> float | None:
    points = seen.series("input", quantity)
    return words.finite(points[-1][1]) if points else None


@testimonies.member
class Step(Testimony):
    """The optimizer: other rates from the same first weights, and the loss along the gradient."""

    first = 30

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        if places(line) != ["optimizer"] or "stale" in (line.get("evidence") or {}):
            return None
        lines = seen.landscapes()
        drawn = [_rates(seen), landscape_chart(lines) if lines else None]
        return join(drawn) if any(drawn) else None


def _rates(seen: Seen) -> Markup | None:
    """The losses that the experiment reached with multiples of the program's rate."""
    found = {name.removeprefix("rate x"): points[-1][1] for name, points in seen.at("trial").items()
             if name.startswith("rate x") and points}  # fmt: skip
    factors = sorted(
        (factor, value) for name, value in found.items() if (factor := words.finite(name))
    )
    start = seen.series("trial", "start")
    if len(factors) < 2:
        return None
    lanes = [Lane(f"{words.plain(factor)} × the rate", [(value, "validation" if factor == 1 else "train", words.plain(value))],
                  strong=factor == 1) for factor, value in factors]  # fmt: skip
    if start:
        lanes.insert(0, Lane("first weights", [(start[-1][1], "soft", words.plain(start[-1][1]))]))
    values = [v for lane in lanes for v, _, _ in lane.dots if math.isfinite(v) and v > 0]
    far = bool(values) and max(values) > 25 * min(values)
    keys = [("this rate", "validation"), ("other rates", "train")]
    chart = lane_chart(
        "The same first steps at other rates",
        lanes,
        Axis("loss reached on held-out batches", words.plain, log=far),
        keys=keys,
    )
    return figure("The same first steps at other rates, on a copy", chart)


@testimonies.member
class Course(Testimony):
    """The whole network: training against validation, else the training loss."""

    first = 40

    def draw(self, line: Line, seen: Seen) -> Markup | None:
        if places(line)[0] in seen.layers:
            return None
        for quantity in ("error", "loss"):
            found = seen.series("validation", quantity)
            if len(found) > 1 and any("validation" in name for name in line.get("evidence") or ()):
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
