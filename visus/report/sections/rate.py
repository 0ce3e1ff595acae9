"""The learning rate: its schedule, and the range test that found it."""

from __future__ import annotations

import math

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import figure, join, lead
from visus.report.charts import Axis, Mark, Series, line_chart
from visus.report.section import Section, sections
from visus.report.sections.learning import curve
from visus.report.story import Story


@sections.member
class LearningRate(Section):
    title, place, reads = "Learning rate", 40, ("step", "epoch", "range-test")

    def body(self, story: Story) -> Markup | None:
        schedule, test = _schedule(story), _range_test(story)
        if schedule is None and test is None:
            return None
        return join(schedule and figure("Schedule", schedule), test)


def _schedule(story: Story) -> Markup | None:
    series = curve(story.all("step"), "step", "rate", "rate", "train") or curve(
        story.all("epoch"), "step", "rate", "rate", "train"
    )
    if series is None:
        return None
    x = Axis("step", words.whole, whole=True)
    return line_chart(
        "Learning rate by step", [series], x, Axis("learning rate", words.plain, zero=True)
    )


def _range_test(story: Story) -> Markup | None:
    line = story.last("range-test")
    rates, losses = words.listed(line.get("rates")), words.listed(line.get("losses"))
    pairs = [(r, v) for a, b in zip(rates, losses, strict=False)
             if (r := words.finite(a)) and r > 0 and (v := words.number(b)) is not None]  # fmt: skip
    if not pairs:
        return lead("Range test: ", line["reason"]) if line.get("reason") else None
    xs, ys = zip(*sorted(pairs), strict=True)
    chosen = words.finite(line.get("rate"))
    marks = [Mark(chosen, f"chosen {words.plain(chosen)}")] if chosen and chosen > 0 else []
    chart = line_chart(
        "Loss by learning rate in the range test",
        [Series("loss", xs, ys)],
        Axis("learning rate (log scale)", words.plain, log=True),
        Axis("loss", words.plain, high=_top(ys)),
        marks=marks,
    )
    said = "The rate grew a little with every step of a trial run: the loss falls while the rate suits, and explodes when it is too large."
    reason = (
        f" {words.text(line['reason'])[:1].upper()}{words.text(line['reason'])[1:]}."
        if line.get("reason")
        else ""
    )
    return figure("Range test", chart, lead(said, reason))


def _top(losses: tuple[float, ...]) -> float | None:
    """The highest loss worth seeing: an explosion leaves by the upper edge."""
    known = [v for v in losses if math.isfinite(v)]
    if not known:
        return None
    low, usual = min(known), max(known[0], sorted(known)[len(known) // 2])
    high = min(max(known), usual + 0.6 * (usual - low))
    return high if high > low else None
