"""How a person may write a value of the recipe. No torch here."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def duration(given: Any) -> Any:
    """Seconds from a number or from "90s", "20m", "1.5h"; "none" is no limit."""
    if not isinstance(given, str):
        return given
    if given.strip() in ("none", ""):
        return None
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", given)
    if found is None or found[2] not in _UNITS:
        raise ValueError("Input should be seconds or a time such as '90s', '20m' or '1.5h'")
    return float(found[1]) * _UNITS[found[2]]


def names(given: Any) -> Any:
    """Several names: a list, or one string with commas."""
    if isinstance(given, str):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    return given


def jitter_table(given: Any) -> Any:
    """A jitter by name, a list of names, or a table; `true` takes a jitter as it is."""
    if isinstance(given, str) and given not in ("auto", "none"):
        given = list(names(given))
    if isinstance(given, (list, tuple)):
        given = dict.fromkeys(given, True)
    if isinstance(given, dict):
        return {k: {} if v is True else v for k, v in given.items() if v is not False}
    return given


def fits(value: Any, default: Any) -> bool:
    """Whether `value` is of the kind that the default of an option shows."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) == isinstance(value, bool) or default is None
    if isinstance(default, int):
        return isinstance(value, int)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, str):
        return isinstance(value, str)
    return True
