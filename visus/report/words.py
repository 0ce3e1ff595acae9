"""Numbers as a person reads them: one place for units and rounding.

Ledger numbers may be strings where JSON has no number for them ("nan", "inf"), or missing.
Every function here takes such a value and returns text; none raises on bad input.
"""

from __future__ import annotations

import datetime
import math
from typing import Any

NONE = "–"
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: Any) -> float | None:
    """`value` as a float (nan and inf among them), or None where it is not a number."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def finite(value: Any) -> float | None:
    """`value` as a finite float, or None."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def _odd(value: Any) -> str | None:
    """The text for what is no finite number, or None where it is one."""
    found = number(value)
    if found is None:
        return NONE
    if math.isnan(found):
        return "not a number"
    return None if math.isfinite(found) else ("infinite" if found > 0 else "-infinite")


def plain(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits: 0.0123, 12.3, 1 230, 1.2e-07."""
    odd = _odd(value)
    if odd is not None:
        return odd
    x = float(value)
    if x and not 1e-4 <= abs(x) < 1e7:
        mantissa, power = f"{x:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(power)}"
    if abs(x) >= 10 ** (digits - 1):
        return whole(round(x))
    return f"{x:.{digits}g}"


def whole(value: Any) -> str:
    """A count with thin spaces between thousands: 50 000."""
    odd = _odd(value)
    return odd if odd is not None else f"{round(float(value)):,}".replace(",", "\u202f")


def short(value: Any) -> str:
    """A large count in few characters: 11.2 M, 0.56 G."""
    x = finite(value)
    if x is None:
        return _odd(value) or NONE
    for scale, letter in _SCALES:
        if abs(x) >= scale:
            return f"{x / scale:.3g}\u202f{letter}"
    return f"{x:.3g}"


def percent(value: Any) -> str:
    """A fraction as percent: 17.4 %, 1.25 %, 0.083 %; exact 0 and 100 without decimals."""
    odd = _odd(value)
    if odd is not None:
        return odd
    p = 100 * float(value)
    if p in (0, 100):
        return f"{p:.0f}\u202f%"
    return f"{p:.{_decimals(abs(p))}f}\u202f%"


def _decimals(p: float) -> int:
    return next(n for n, least in ((1, 9.95), (2, 0.995), (3, 0.0)) if p >= least)


def interval(value: Any) -> str:
    """A 95 % interval [low, high] of fractions: "16.7 to 18.2 %"; "" where there is none."""
    if not isinstance(value, list) or len(value) != 2 or None in map(finite, value):
        return ""
    low, high = value
    return f"{percent(low).removesuffix(chr(0x202F) + '%')} to {percent(high)}"


def seconds(value: Any) -> str:
    """A duration: 0.4 s, 38 s, 4 min 05 s, 2 h 07 min, 3 d 4 h."""
    x = finite(value)
    if x is None or x < 0:
        return NONE
    if x < 9.95:
        return f"{x:.1f}\u202fs"
    n = round(x)
    if n < 60:
        return f"{n}\u202fs"
    if n < 3600:
        return f"{n // 60}\u202fmin {n % 60:02d}\u202fs"
    if n < 86400:
        return f"{n // 3600}\u202fh {n % 3600 // 60:02d}\u202fmin"
    return f"{n // 86400}\u202fd {n % 86400 // 3600}\u202fh"


def moment(t: Any) -> str:
    """A time since 1970 on the clock of this machine: 2026-11-23 08:12:45."""
    x = finite(t)
    try:
        return NONE if x is None else f"{datetime.datetime.fromtimestamp(x):%Y-%m-%d\u00a0%H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return NONE


def text(value: Any) -> str:
    """Any ledger value in one line: lists as 32 × 32, tables as key=value."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NONE}[value]
    if isinstance(value, float):
        return plain(value, 6)
    if isinstance(value, dict):
        return ", ".join(f"{key}={text(item)}" for key, item in value.items()) or NONE
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value)) or NONE
    return str(value)


def shape(value: Any) -> str:
    """A tensor shape: 64 × 16 × 16."""
    return (
        "\u00a0×\u00a0".join(map(text, value)) if isinstance(value, (list, tuple)) else text(value)
    )


def some(n: Any, noun: str, plural: str | None = None) -> str:
    """A count with its noun: 1 look, 2 looks, 10 000 images."""
    return f"{whole(n)} {noun if number(n) == 1 else plural or noun + 's'}"


# What a task tells apart or measures, by the task's name in the `data` line.
OUTPUTS = {"regression": ("target", "targets"), "multi-label": ("label", "labels"), "ranking": ("score", "scores")}  # fmt: skip


def outputs(data: dict) -> tuple[str, str]:
    """The noun for the names in a `data` line, one and many: classes, or what its task has."""
    return OUTPUTS.get(str(data.get("task")), ("class", "classes"))


def listed(value: Any) -> list:
    """`value` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def tables(value: Any) -> list[dict]:
    """The tables in a list; [] where it is no list."""
    return [item for item in listed(value) if isinstance(item, dict)]
