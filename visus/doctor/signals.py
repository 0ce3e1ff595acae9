"""Signals: numbers by step, place and quantity. Rules read them and nothing else. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

Point = tuple[int, float]


class Signals:
    """A time series for each (place, quantity), and `facts` that do not change with time.

    A place is a layer ("conv1"), a parameter's layer, or a part of the program ("loss",
    "input", "labels", "optimizer"). Values are floats; steps count optimizer steps from 0.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], list[Point]] = {}
        self.facts: dict[str, Any] = {}
        self.layers: list[dict[str, Any]] = []  # the weight layers in the order data meets them
        self.steps = 0

    def add(self, place: str, quantity: str, step: int, value: float) -> None:
        """Append one measurement."""
        self._series.setdefault((place, quantity), []).append((step, float(value)))

    def series(self, place: str, quantity: str) -> list[Point]:
        """All (step, value) of one signal, oldest first; empty when it was never measured."""
        return self._series.get((place, quantity), [])

    def values(self, place: str, quantity: str) -> list[float]:
        """The values of one signal without their steps."""
        return [value for _, value in self.series(place, quantity)]

    def first(self, place: str, quantity: str, default: float = math.nan) -> float:
        """The oldest value, or `default`."""
        return next(iter(self.values(place, quantity)), default)

    def last(self, place: str, quantity: str, default: float = math.nan) -> float:
        """The newest value, or `default`."""
        found = self.series(place, quantity)
        return found[-1][1] if found else default

    def median(self, place: str, quantity: str, default: float = math.nan) -> float:
        """The median over time, or `default`."""
        return median(self.values(place, quantity), default)

    def places(self, quantity: str) -> list[str]:
        """Every place at which `quantity` was measured, in order of first sight."""
        return [place for place, name in self._series if name == quantity]

    def newest(self, places: Iterable[str]) -> None:
        """Of each signal at these places only the newest value stays."""
        for key, points in self._series.items():
            if key[0] in places:
                del points[:-1]

    def after(self, step: int) -> Signals:
        """What was measured of a stage that began after `step` steps, its steps counted from 0."""
        if not step:
            return self
        stage = Signals()
        stage.facts, stage.layers, stage.steps = self.facts, self.layers, self.steps - step
        for key, points in self._series.items():
            stage._series[key] = [(max(at - step, 0), value) for at, value in points]
        return stage

    def quantities(self) -> list[tuple[str, str]]:
        """Every (place, quantity) that holds at least one value."""
        return list(self._series)


def median(values: Iterable[float], default: float = math.nan) -> float:
    """The middle of the finite `values`, or `default` when there is none."""
    ranked = sorted(value for value in values if math.isfinite(value))
    return ranked[len(ranked) // 2] if ranked else default


def mean(values: Iterable[float], default: float = math.nan) -> float:
    """The mean of the finite `values`, or `default` when there is none."""
    kept = [value for value in values if math.isfinite(value)]
    return sum(kept) / len(kept) if kept else default


def spread(values: Iterable[float], default: float = math.nan) -> float:
    """The standard deviation of the finite `values`, or `default` with fewer than two."""
    kept = [value for value in values if math.isfinite(value)]
    if len(kept) < 2:
        return default
    middle = sum(kept) / len(kept)
    return math.sqrt(sum((value - middle) ** 2 for value in kept) / (len(kept) - 1))
