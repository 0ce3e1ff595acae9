"""Dividing again: what an audit found on two sides of the split comes to one.

Parts that the user gave stay as they are, unless they are named in `anew`. An image that is tied
to one of a later given part (train < validation < test) is left out: a test set is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from visus.data.divide import PARTS, units_of
from visus.data.scan import Scan

Ties = list[list[str]]  # of each image, what it must not be parted from


@dataclass(frozen=True)
class Again:
    """`pairs` are names of images that belong together; `anew` the given parts to draw again."""

    pairs: Sequence[tuple[str, str]] = ()
    anew: tuple[str, ...] = ()

    def freed(self, seen: Scan) -> tuple[Scan, Ties, list[int]]:
        """The images to divide, their ties, and their places in `seen`."""
        ties = self._ties(seen)
        splits = ["" if part in self.anew else part for part in seen.found.splits]
        keep = _kept(seen.found.labels, ties, splits)
        freed = Scan(replace(seen.found, splits=splits), seen.sums, seen.bad)
        return freed.take(keep), [ties[i] for i in keep], keep

    def _ties(self, seen: Scan) -> Ties:
        """Bytes, group, and a name for each pair that the audit found."""
        place = {name: i for i, name in enumerate(seen.found.images.names)}
        ties = [tied(seen, i) for i in range(len(seen.sums))]
        for n, pair in enumerate(self.pairs):
            for name in pair:
                if name in place:
                    ties[place[name]].append(f"pair {n}")
        return ties


def tied(seen: Scan, i: int) -> list[str]:
    """What image `i` must not be parted from: its copies, and its group."""
    group = seen.found.groups[i]
    return [seen.sums[i], f"group {group}"] if group else [seen.sums[i]]


def _kept(labels: list[str], ties: Ties, splits: list[str]) -> list[int]:
    """Places of the images that are not tied to one of a later part that was given."""
    rank = [PARTS.index(part) if part in PARTS[1:] else 0 for part in splits]
    keep: list[int] = []
    for unit in units_of(labels, ties):
        latest = max(rank[i] for i in unit.members)
        keep += [i for i in unit.members if rank[i] == latest]
    return sorted(keep)
