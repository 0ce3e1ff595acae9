"""How named things register and are found: definition is registration.

A family is a table of classes or functions that share a purpose (the jitters, the
schedules, the networks). A member enters it where it is defined:

    schedules = Family("schedule", package=__package__)

    @schedules.member                      # named "one-cycle", after the class
    class OneCycle:
        def __init__(self, *, warmup: float = 0.3): ...

Its options are its `__init__` (or function) parameters that have a default; nobody keeps a
second list of them. Unknown names and options are refused with the nearest valid one.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from visus.errors import RecipeError, unknown


def kebab(name: str) -> str:
    """`OneCycle` and `one_cycle` both read `one-cycle` in a recipe."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-").lower()


@dataclass(frozen=True)
class Range:
    """Where `visus tune` looks for a number: `Annotated[float, Range(0.8, 0.99)]` at its definition.

    `times`: `low` and `high` are factors of the value that stands without it (a default, or what
    "auto" becomes). `log`: as many draws below 0.1 as above. `always`: in every search, or only
    where it is asked for by name. `step`: a whole number is a multiple of it.
    """

    low: float
    high: float
    log: bool = False
    times: bool = False
    always: bool = True
    step: int = 1


@dataclass(frozen=True)
class Choice:
    """Values that `visus tune` chooses from; without `values` the members of the key's family."""

    values: tuple[Any, ...] = ()
    always: bool = False


Search = Range | Choice


def search_of(annotation: Any) -> Search | None:
    """The `Range` or `Choice` in an `Annotated` type, or in the metadata of a recipe's field."""
    marks = getattr(annotation, "__metadata__", None) or getattr(annotation, "metadata", ())
    return next((mark for mark in marks if isinstance(mark, Search)), None)


class Family(Mapping[str, Callable[..., Any]]):
    """A table of members by name.

    `noun` is the word for one member in error messages. `package` names the package whose
    modules define the members: they are imported at the first look, so that a new file in
    the folder is all it takes to add a member.
    """

    def __init__(self, noun: str, *, package: str | None = None):
        self.noun, self._package = noun, package
        self._members: dict[str, Callable[..., Any]] = {}

    def member(self, given: Callable[..., Any] | str) -> Any:
        """Register a class or function; `@family.member("name")` names it otherwise."""
        if isinstance(given, str):
            return lambda thing: self._add(given, thing)
        return self._add(kebab(given.__name__), given)

    def _add(self, name: str, thing: Callable[..., Any]) -> Callable[..., Any]:
        held = self._members.get(name)
        if held is not None and _origin(held) != _origin(thing):
            raise ValueError(f"{self.noun} '{name}' is defined twice: {held!r} and {thing!r}")
        self._members[name] = thing
        return thing

    def _load(self) -> dict[str, Callable[..., Any]]:
        if self._package is not None:
            name, self._package = self._package, None  # members may look while they are loaded
            try:
                for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
                    importlib.import_module(f"{name}.{module.name}")
            except BaseException:
                self._package = name  # half a family must not pass for a whole one
                raise
        return self._members

    def __getitem__(self, name: str) -> Callable[..., Any]:
        members = self._load()
        if name not in members:
            raise RecipeError(unknown(self.noun, name, members))
        return members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """The recipe options of a member: its parameters that have a name and a default, in order."""
        empty, nameless = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_ONLY
        parameters = inspect.signature(self[name]).parameters.items()
        return {k: p for k, p in parameters if p.default is not empty and p.kind is not nameless}

    def searches(self, name: str) -> dict[str, Search]:
        """The options of a member that declare where to search them."""
        member = self[name]
        made = member.__init__ if isinstance(member, type) else member
        hints = get_type_hints(made, include_extras=True)
        found = {key: search_of(hints.get(key)) for key in self.options(name)}
        return {key: search for key, search in found.items() if search is not None}

    def check(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise `RecipeError` where `options` holds a key that the member does not take."""
        known = self.options(name)
        for key in options:
            if key not in known:
                raise RecipeError(unknown(f"{self.noun} '{name}'", key, known))

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the member `name` with `args` and checked `options`."""
        self.check(name, options)
        return self[name](*args, **options)


def _origin(thing: Callable[..., Any]) -> tuple[str, str]:
    # A reloaded module defines its members anew: the same place is the same member.
    return thing.__module__, thing.__qualname__
