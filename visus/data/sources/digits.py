"""The 1,797 handwritten digits, 8x8 grey, that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from visus.data.arrays import found_arrays
from visus.data.found import Found
from visus.data.sources import Source, sources


@sources.member
class Digits(Source):
    """UCI optical digits (Alpaydin & Kaynak 1998), values 0 to 16 spread to 0 to 255."""

    names = ("digits",)

    def open(self, what: str) -> Found:
        """All digits, no split given."""
        from sklearn.datasets import load_digits

        found = load_digits()
        pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)  # type: ignore[union-attr]
        return found_arrays(what, "digits", [("", pixels, found.target)])  # type: ignore[union-attr]
