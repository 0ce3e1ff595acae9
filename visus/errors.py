"""Errors that a person reads: one line with the place, the value and the way out.

Every error visus raises on purpose is a `VisusError`. The command line prints its text
as one line and leaves with its `status`; in Python it is an ordinary exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VisusError(Exception):
    """The work failed. `status` is the exit status of the command line."""

    status = 1


class UsageError(VisusError):
    """The caller asked for something that does not exist or does not fit."""

    status = 2


class DataError(VisusError):
    """The images, labels or splits cannot be used as they are."""


class RecipeError(UsageError):
    """A recipe holds an unknown key or a value outside its range."""


class RunError(VisusError):
    """A run folder cannot be written, read or resumed."""


class NotFiniteError(VisusError):
    """The loss or its gradient became nan or infinite; the weights are those before the step."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice a person most likely meant by `name`, or None when nothing is close."""
    found = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(place: str, name: str, choices: Iterable[str]) -> str:
    """The sentence for a name that is not among `choices`: what, nearest, all of them."""
    known = sorted(choices)
    close = nearest(name, known)
    hint = f"did you mean '{close}'? " if close else ""
    return f"{place}: unknown name '{name}'; {hint}known: {', '.join(known) or 'none'}"
