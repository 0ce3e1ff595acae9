"""Histograms of what the layers pass on, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from visus.ledger import Line
from visus.report import words
from visus.report.blocks import folded, join, lead, tag
from visus.report.charts import small_mosaic
from visus.report.section import Section, sections
from visus.report.sections.shares import thin
from visus.report.seen import Seen
from visus.report.story import Story

BINS, MOST_LAYERS = 28, 24


@sections.member
class Histograms(Section):
    title, place, reads, of = "Histograms", 24, ("histogram", "layers"), ("watch", "run")

    def body(self, story: Story) -> Markup | None:
        seen = Seen(story)
        passed, back = seen.histograms("activation"), seen.histograms("gradient")
        if not passed and not back:
            return None
        said = ("Each column is one look; the fuller the color, the more values lie at that height. A band that narrows to a "
                "line carries no more signal; one that sits on an end of a sigmoid is saturated.")  # fmt: skip
        return join(lead(said), _gallery("What each layer passes on", passed, seen),
                    folded("Gradients", _gallery("Gradients by layer", back, seen)) if back else None)  # fmt: skip


def _gallery(title: str, found: dict[str, list[Line]], seen: Seen) -> Markup | None:
    if not found:
        return None
    some = list(found.items())[:MOST_LAYERS]
    cards = [
        tag("figure", tag("figcaption", seen.title(name)), histogram(name, lines))
        for name, lines in some
    ]
    return join(tag("h3", title), tag("div", cards, class_="multiples"))


def histogram(name: str, lines: list[Line]) -> Markup:
    """One layer: values upwards, looks to the right."""
    steps = set(thin([float(words.finite(line.get("step")) or 0) for line in lines]))
    lines = [line for line in lines if float(words.finite(line.get("step")) or 0) in steps]
    low, high = reach(lines)
    edges = [low + (high - low) * i / BINS for i in range(BINS + 1)]
    columns = [_shares(line, edges) for line in lines]
    # The strength grows with the square root of the share: a spike at zero does not hide the rest.
    table = [[math.sqrt(column[i]) for column in columns] for i in reversed(range(BINS))]
    full = max((v for row in table for v in row), default=1.0) or 1.0
    return small_mosaic(name, _names(edges), [words.whole(line.get("step")) for line in lines], table,
                        x_label="step", most=full, say=lambda root: words.percent(root * root))  # fmt: skip


def reach(lines: Sequence[Line]) -> tuple[float, float]:
    """The range in which some look has at least one value in a thousand."""
    inside = [pair for line in lines for pair in _filled(line)]
    low = min((low for low, _ in inside), default=0.0)
    high = max((high for _, high in inside), default=0.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _filled(line: Line) -> list[tuple[float, float]]:
    edges, counts = [float(v) for v in line["edges"]], [float(n) for n in line["counts"]]
    least = 0.001 * sum(counts)
    return [(a, b) for a, b, n in zip(edges, edges[1:], counts, strict=False) if n > least]


def _names(edges: list[float]) -> list[str]:
    """The value at the top, the middle and the bottom row."""
    named = {0: edges[-1], BINS // 2: edges[BINS // 2], BINS - 1: edges[0]}
    return [words.plain(named[i], 2) if i in named else "" for i in range(BINS)]


def _shares(line: Line, edges: list[float]) -> list[float]:
    """The share in each of the common bins, of the values that the look has bins for."""
    counts, own = [float(n) for n in line["counts"]], [float(v) for v in line["edges"]]
    shares = [0.0] * BINS
    for n, low, high in zip(counts, own, own[1:], strict=False):
        for i in range(BINS):
            both = min(high, edges[i + 1]) - max(low, edges[i])
            if both > 0 and high > low:
                shares[i] += n * both / (high - low)
    total = sum(shares) or 1.0
    return [share / total for share in shares]
