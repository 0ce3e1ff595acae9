"""What the doctor saw, read from the lines of a watch: layers, series, histograms, landscapes.

docs/doctor.md says what each line holds. A field of another type than it should be is left out.
"""

from __future__ import annotations

from visus.ledger import Line
from visus.report import words
from visus.report.story import Story

Points = list[tuple[float, float]]


class Seen:
    """The doctor's lines of one ledger, by place and quantity."""

    def __init__(self, story: Story):
        self.story = story
        self._series: dict[tuple[str, str], Points] = {}
        for line in story.all("signal"):
            key = (words.text(line.get("place")), words.text(line.get("quantity")))
            self._series.setdefault(key, []).extend(_points(line.get("steps"), line.get("values")))

    @property
    def layers(self) -> list[str]:
        """The places of the weight layers, in the order data meets them."""
        rows = [
            row for line in self.story.all("layers") for row in words.tables(line.get("layers"))
        ]
        return list(dict.fromkeys(words.text(row["place"]) for row in rows if row.get("place")))

    def title(self, place: str) -> str:
        """The name of a layer for a reader: a mere number gets its kind beside it."""
        rows = [
            row for line in self.story.all("layers") for row in words.tables(line.get("layers"))
        ]
        kind = next(
            (row.get("kind") for row in rows if words.text(row.get("place")) == place), None
        )
        return f"{place} {words.text(kind)}" if place.isdigit() and kind else place

    def series(self, place: str, quantity: str) -> Points:
        """(step, value) of one signal; values may be nan or infinite."""
        return self._series.get((place, quantity), [])

    def at(self, place: str) -> dict[str, Points]:
        """All series of one place, by quantity."""
        return {
            quantity: points for (here, quantity), points in self._series.items() if here == place
        }

    def by_layer(self, quantity: str) -> dict[str, Points]:
        """The series of each layer that has one, in the order of the layers."""
        found = {place: self.series(place, quantity) for place in self.layers}
        return {place: points for place, points in found.items() if points}

    def losses(self) -> Points:
        """The training loss by step, from the signal or from the step lines."""
        signal = self.series("loss", "value")
        told = [
            (words.finite(line.get("step")), words.number(line.get("loss")))
            for line in self.story.all("step")
        ]
        steps = [(x, y) for x, y in told if x is not None and y is not None]
        return signal if len(signal) >= len(steps) else steps

    def histograms(self, quantity: str) -> dict[str, list[Line]]:
        """The usable histogram lines by layer, oldest first."""
        found: dict[str, list[Line]] = {}
        for line in self.story.all("histogram"):
            edges, counts = words.listed(line.get("edges")), words.listed(line.get("counts"))
            whole = all(words.finite(v) is not None for v in [*edges, *counts])
            if (
                words.text(line.get("quantity")) == quantity
                and whole
                and 2 <= len(edges) == len(counts) + 1
            ):
                found.setdefault(words.text(line.get("place")), []).append(line)
        order = {place: n for n, place in enumerate(self.layers)}
        return dict(sorted(found.items(), key=lambda pair: order.get(pair[0], len(order))))

    def landscapes(self) -> list[Line]:
        """The usable landscape lines, oldest first."""
        return [line for line in self.story.all("landscape")
                if len(_points(line.get("rates"), line.get("losses"))) > 1
                and (words.finite(line.get("before")) or 0) > 0]  # fmt: skip

    def findings(self) -> list[Line]:
        """The last word on each finding, causes first; early ones only where there is no later."""
        lines = self.story.all("finding")
        last = [line for line in lines if line.get("early") is not True]
        ended = bool(self.story.end) or bool(last)
        newest = {words.text(line.get("id")): line for line in lines}
        return last if ended else list(newest.values())


def _points(steps: object, values: object) -> Points:
    pairs = zip(words.listed(steps), words.listed(values), strict=False)
    known = [(words.finite(x), words.number(y)) for x, y in pairs]
    return [(x, y) for x, y in known if x is not None and y is not None]


def ends(points: Points) -> tuple[Points, ...]:
    """The first, the middle and the last point (fewer where there are fewer)."""
    kept = sorted({0, len(points) // 2, len(points) - 1}) if points else []
    return tuple([points[i]] for i in kept)
