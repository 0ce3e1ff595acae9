"""Learning curves: train and validation error on one axis, and the losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import Column, figure, folded, join, lead, table
from visus.report.charts import Axis, Mark, Series, line_chart
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class LearningCurves(Section):
    title, place, reads = "Learning curves", 30, ("epoch", "step")

    def body(self, story: Story) -> Markup | None:
        epochs = story.all("epoch")
        if not epochs:
            return _first_steps(story)
        errors = _pair(epochs, "error")
        losses = _pair(epochs, "loss")
        return join(
            lead("Both errors are measured on plain images with dropout and jitter off, so they "
                 "compare. A gap between them is what the network learned by heart."),
            figure("Error", _chart("Error by epoch", errors, story.axis, words.percent, story)) if errors else None,
            figure("Loss", _chart("Loss by epoch", losses, "loss", words.plain, story)) if losses else None,
            folded("All epochs as a table", _table(epochs)),
        )  # fmt: skip


def _pair(epochs: Sequence[dict], what: str) -> list[Series]:
    found = (
        curve(epochs, "epoch", f"{split}_{what}", split, split) for split in ("train", "validation")
    )
    return [one for one in found if one is not None]


def curve(lines: Sequence[dict], x: str, y: str, name: str, color: str) -> Series | None:
    """The series of field `y` over field `x`; None where no line has both."""
    found = [(at, value) for line in lines if (at := words.finite(line.get(x))) is not None
             and (value := words.number(line.get(y))) is not None]  # fmt: skip
    if not found:
        return None
    found.sort(key=lambda pair: pair[0])
    xs, ys = zip(*found, strict=True)
    return Series(name, xs, ys, color, dash=name == "validation")


def _chart(title: str, series: list[Series], label: str, format: Any, story: Story) -> Markup:
    values = [v for one in series for v in one.ys if math.isfinite(v)]
    wide = len(values) > 6 and min(values) > 0 and max(values) > 25 * min(values)
    best = words.finite(story.best.get("epoch"))
    marks = (
        [Mark(best, f"best epoch {words.text(story.best['epoch'])}")] if best is not None else []
    )
    y = Axis(label + (" (log scale)" if wide else ""), format, log=wide, zero=not wide)
    return line_chart(title, series, Axis("epoch", words.plain, whole=True), y, marks=marks)


def _table(epochs: Sequence[dict]) -> Markup:
    heads = ["epoch", "train error", "validation error", "train loss", "validation loss",
             "learning rate", "time"]  # fmt: skip
    rows = [
        [
            words.text(line.get("epoch")) + (" ★" if line.get("best") is True else ""),
            words.percent(line.get("train_error")),
            words.percent(line.get("validation_error")),
            words.plain(line.get("train_loss")),
            words.plain(line.get("validation_loss")),
            words.plain(line.get("rate")),
            words.seconds(line.get("seconds")),
        ]
        for line in epochs
    ]
    return table([Column(head, numeric=True) for head in heads], rows, "All epochs")


def _first_steps(story: Story) -> Markup | None:
    """Before the first epoch ends: the loss of the steps so far."""
    series = curve(story.all("step"), "step", "loss", "train", "train")
    if series is None:
        return None
    chart = line_chart("Loss by step", [series], Axis("step", words.whole, whole=True),
                       Axis("loss", words.plain, zero=True))  # fmt: skip
    return join(
        lead("No epoch has finished; this is the loss of the steps so far."), figure("Loss", chart)
    )
