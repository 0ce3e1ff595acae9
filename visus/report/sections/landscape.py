"""The loss along the gradient: what other rates would have done to the same batch."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import figure, join, lead
from visus.report.charts import Axis, Mark, Series, line_chart
from visus.report.section import Section, sections
from visus.report.seen import Seen
from visus.report.story import Story

COLORS = ("soft", "train", "validation")
CEILING = 2.0  # times the loss before the step; what lies above leaves the picture


@sections.member
class Landscape(Section):
    title, place, reads, of = "Loss along the gradient", 30, ("landscape",), ("watch", "run")

    def body(self, story: Story) -> Markup | None:
        lines = Seen(story).landscapes()
        if not lines:
            return None
        said = ("One batch, before and after its own update, had the learning rate been another. Below 1 the step helps. The program's "
                "own rate should lie where the curve falls, well before it turns up: a minimum far to its right means that the rate "
                "is too small, a curve above 1 at the rate that it is too large.")  # fmt: skip
        return join(lead(said), landscape_chart(lines))


def landscape_chart(lines: Sequence[Line]) -> Markup:
    """The first, the middle and the last landscape, each over the loss before its step."""
    kept = [lines[i] for i in sorted({0, len(lines) // 2, len(lines) - 1})]
    series = [_series(line, color) for line, color in zip(kept, COLORS[-len(kept) :], strict=True)]
    rates = [v for one in series for v in one.xs]
    spread = min(rates, default=0) > 0
    rate = words.finite(kept[-1].get("rate"))
    marks = [Mark(rate, f"rate {words.plain(rate)}")] if rate else []
    high = min(max([1.1, *(v for one in series for v in one.ys if v == v)]), CEILING)
    chart = line_chart("Loss after one step, by learning rate", series, Axis("learning rate", words.plain, log=spread),
                       Axis("loss after the step over loss before it", words.plain, high=high), marks=marks)  # fmt: skip
    return figure("Loss after one step, by learning rate", chart)


def _series(line: Line, color: str) -> Series:
    before = float(line["before"])
    pairs = [
        (words.finite(x), words.number(y))
        for x, y in zip(line["rates"], line["losses"], strict=False)
    ]
    known = sorted((x, y / before) for x, y in pairs if x is not None and x > 0 and y is not None)
    over = next((n for n, (_, y) in enumerate(known) if not y <= CEILING), len(known))
    known = known[: over + 1]  # what lies beyond the first point above the picture says no more
    xs, ys = zip(*known, strict=True) if known else ((), ())
    return Series(f"step {words.whole(line.get('step'))}", xs, ys, color)
