"""What the target columns of a manifest ask: classes, numbers, several labels, shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from visus.data.found import in_order
from visus.data.truth import Truth
from visus.errors import DataError

PREFIX = "target_"


def truth_of(
    place: str, table: Mapping[str, Sequence[str]], first_row: int
) -> tuple[Truth | None, list[str], str]:  # fmt: skip
    """`(truth, class names or [], what one class an image poses)` of the rows of a manifest.

    Columns target_a, target_b, ...: shares where each row sums to 1, labels where all are 0 or 1
    (one 1 in each row: classes), else numbers. One column target: lists `a;b`, numbers where one
    of them is no whole number, else classes; 0 and 1 alone are a dichotomy.
    """
    columns = [name for name in table if name.startswith(PREFIX)]
    if columns:
        return _columns(place, table, columns, first_row)
    values = table["target"]
    if any(";" in value for value in values):
        return _lists(values), [], ""
    numbers = [number(value) for value in values]
    known = [v for v in numbers if v is not None]
    fractional = any(v != v or v != round(v) if abs(v) < 1e300 else True for v in known)
    if known and fractional and 2 * len(known) > len(values):
        rows = finite_rows(place, {"target": values}, first_row)
        return Truth("values", ["target"], rows), [], ""
    return None, list(values), "dichotomy" if set(values) == {"0", "1"} else "classification"


def number(text: str) -> float | None:
    """The text as a number, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def finite_rows(
    place: str, columns: Mapping[str, Sequence[str]], first_row: int
) -> np.ndarray:  # fmt: skip
    """float32 `(n, T)`; `DataError` names the first cell that is no finite number."""
    out = []
    for name, cells in columns.items():
        for i, cell in enumerate(cells):
            value = number(cell)
            if value is None or not np.isfinite(value):
                raise DataError(
                    f"{place}: row {i + first_row} has {name} '{cell}', which is no finite number; "
                    "fill it in or leave the row out"
                )
        out.append([float(cell) for cell in cells])
    return np.asarray(out, np.float32).T.copy()


def _columns(
    place: str, table: Mapping[str, Sequence[str]], columns: list[str], first_row: int
) -> tuple[Truth | None, list[str], str]:  # fmt: skip
    rows = finite_rows(place, {name: table[name] for name in columns}, first_row)
    names = [name.removeprefix(PREFIX) for name in columns]
    form = form_of(rows)
    if form == "classes":
        return None, [names[k] for k in rows.argmax(1).tolist()], "classification"
    return Truth(form, names, rows), [], ""


def form_of(rows: np.ndarray) -> str:
    """classes, flags, shares or values, by the numbers in `(n, T)`."""
    wide = rows.shape[1] > 1
    binary = bool(((rows == 0) | (rows == 1)).all())
    whole = wide and bool((rows >= 0).all() and (np.abs(rows.sum(1) - 1) < 1e-3).all())
    if whole:
        return "classes" if binary else "shares"
    return "flags" if binary and wide else "values"


def _lists(values: Sequence[str]) -> Truth:
    sets = [{part.strip() for part in value.split(";")} - {""} for value in values]
    names = in_order(set().union(*sets))
    rows = np.asarray([[name in labels for name in names] for labels in sets], np.float32)
    return Truth("flags", names, rows)
