"""Original sizes of the files, before resizing: tiny, huge and oddly shaped ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from visus.data.crew import chunks, in_order
from visus.data.found import Images, Size, Unreadable

FACTOR = 4.0  # sides this much smaller than the median, or aspects this far from it


@dataclass(frozen=True)
class Sizes:
    """The most frequent sizes with their counts, the medians, and outliers (row, size, why)."""

    common: list[tuple[Size, int]]
    median: Size
    outliers: list[tuple[int, Size, str]]


def sizes(images: Images, workers: int | None = None) -> Sizes:
    """Reads the header of every image; unreadable ones are passed over."""
    parts = in_order(lambda i: _size(images, i), chunks(len(images.names)), workers)
    found = [size for part in parts for size in part]
    known = [(i, size) for i, size in enumerate(found) if size is not None]
    if not known:
        return Sizes([], (0, 0), [])
    median = _median([s for _, s in known])
    odd = [(i, size, why) for i, size in known if (why := _odd(size, median))]
    return Sizes(Counter(s for _, s in known).most_common(5), median, odd)


def _size(images: Images, i: int) -> Size | None:
    try:
        return images.open(i).look.size
    except Unreadable:
        return None


def _median(found: Sequence[Size]) -> Size:
    heights, widths = sorted(s[0] for s in found), sorted(s[1] for s in found)
    return heights[len(found) // 2], widths[len(found) // 2]


def _odd(size: Size, median: Size) -> str:
    aspect, usual = size[1] / max(1, size[0]), median[1] / max(1, median[0])
    if max(aspect, usual) > FACTOR / 2 * min(aspect, usual):
        return "aspect"
    if min(size) * FACTOR <= min(median):
        return "small"
    return "large" if max(size) >= FACTOR * max(median) else ""
