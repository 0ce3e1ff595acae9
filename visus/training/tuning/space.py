"""What may vary: the keys of the recipe that declare a `Range` or a `Choice`, one after another.

Nothing is listed here. A field of a section declares its search in `recipe.py`, an option of a
network, loss, jitter, ... where that member is defined. A key that the user has set is fixed,
unless it is named in `vary`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from visus.errors import UsageError, nearest
from visus.family import Choice, Range, Search, search_of
from visus.training.automatic import settle, usual_rate
from visus.training.members import NOUNS, family
from visus.training.reading import validate
from visus.training.recipe import Named, Recipe, Section
from visus.training.tuning.dimension import Dimension, Tree, is_set, put, written

Ask = Callable[[Dimension], Any]


class Space:
    """The search around a recipe `given` (only the keys that were set) for one data set."""

    def __init__(self, given: Tree, dataset: Any, vary: tuple[str, ...] = ()):
        self.given, self.dataset, self.vary = given, dataset, vary
        self.known: set[str] = set()  # keys that could vary, seen on the way
        self.dimensions = _every(self)
        if unknown := [key for key in vary if key not in {d.key for d in self.dimensions}]:
            close = nearest(unknown[0], self.known)
            hint = f"did you mean '{close}'? " if close else ""
            raise UsageError(
                f"vary: '{unknown[0]}' declares no range; {hint}those that do: "
                f"{', '.join(sorted(self.known))}"
            )
        if not self.dimensions:
            raise UsageError(
                "tune: the recipe sets every key that has a range, so nothing is left to vary; "
                "name keys with --vary, such as --vary optimizer.rate"
            )

    def draw(self, ask: Ask) -> dict[str, Any]:
        """One answer of `ask` for each dimension, by name; which there are may depend on answers."""
        tree, answers = copy.deepcopy(self.given), {}
        for section in ("jitter", *(name for name, kind in _sections() if kind)):
            for dimension in _of_section(self, section, tree):
                answers[dimension.name] = answer = ask(dimension)
                if isinstance(dimension.search, Choice) and answer is not None:
                    put(tree, dimension.key, answer)
        return answers

    def recipe(self, answers: dict[str, Any]) -> tuple[Tree, dict[str, Any]]:
        """The keys of the tuned recipe, those that were given among them, and the tuned alone.

        Factors become values here, the rate last: what it stands without depends on the optimizer
        and on the batch size.
        """
        tree, values = self._opened(answers), {}
        drawn = [d for d in self.dimensions if d.name in answers]
        for dimension in sorted(drawn, key=self._turn):
            key, value = dimension.key, answers[dimension.name]
            if isinstance(dimension.search, Range):
                base = self._base(tree, key) if dimension.search.times else 1
                value = written(value * base, dimension)
            put(tree, key, value)
            values[key] = value
        return tree, {d.key: values[d.key] for d in drawn}

    def filled(self, values: dict[str, Any]) -> Tree:
        """The keys that were given, with tuned `values` by key."""
        tree = self._opened(values)
        for key, value in values.items():
            put(tree, key, value)
        return tree

    def _opened(self, names: dict[str, Any]) -> Tree:
        # One jitter's option alone would switch the other jitters off.
        tree = copy.deepcopy(self.given)
        if any(name.startswith("jitter.") for name in names):
            tree["jitter"] = copy.deepcopy(settle(validate(self.given), self.dataset).jitter)
        return tree

    def read(self, recipe: Recipe, answers: dict[str, Any]) -> dict[str, Any]:
        """The values that a settled recipe has where `answers` were asked for."""
        return {d.key: _value(recipe, d.key) for d in self.dimensions if d.name in answers}

    def default(self, dimension: Dimension) -> Any:
        """Where the recipe stands, inside the range; None where it says nothing that can be asked."""
        how, value = dimension.search, dimension.default
        if isinstance(how, Choice):
            return value if value in dimension.options else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return min(max(value, how.low), how.high) if number else None

    def _turn(self, dimension: Dimension) -> int:
        if dimension.key == "optimizer.rate":
            return 3
        how = dimension.search
        return 0 if isinstance(how, Choice) else 2 if how.times else 1

    def _base(self, tree: Tree, key: str) -> float:
        settled = settle(validate(tree), self.dataset)
        value = _value(settled, key)
        return usual_rate(settled) if value == "auto" else value

    def wanted(self, key: str, search: Search | None) -> bool:
        """Whether `key` varies."""
        if search is None:
            return False
        self.known.add(key)
        if self.vary:
            return key in self.vary
        return search.always and not is_set(self.given, key)


def _sections() -> list[tuple[str, type[Section] | None]]:
    kinds = [(name, info.annotation) for name, info in Recipe.model_fields.items()]
    return [(n, k if isinstance(k, type) and issubclass(k, Section) else None) for n, k in kinds]


def _every(space: Space) -> list[Dimension]:
    """The dimensions under any choice: each one that is in some branch, once."""
    found: dict[str, Dimension] = {}

    def walk(fixed: dict[str, Any]) -> None:
        branches: list[Dimension] = []

        def ask(dimension: Dimension) -> Any:
            found.setdefault(dimension.name, dimension)
            if dimension.name.endswith(".name") and dimension.key not in fixed:
                branches.append(dimension)
            return fixed.get(dimension.key, (dimension.options or (dimension.default,))[0])

        space.draw(ask)
        for dimension in branches[:1]:
            for option in dimension.options:
                walk(fixed | {dimension.key: option})

    walk({})
    return list(found.values())


def _of_section(space: Space, section: str, tree: Tree) -> Iterator[Dimension]:
    """What varies in one section; the name comes first, because the other keys depend on it."""
    if section == "jitter":
        yield from _of_jitter(space)
        return
    kind = dict(_sections())[section]
    assert kind is not None
    if issubclass(kind, Named):
        yield from _field(space, section, "name", validate(tree))
    settled = settle(validate(tree), space.dataset)  # with the name that was just chosen
    member = _member(section, settled)
    for field in kind.model_fields:
        if field != "name" and (section != "model" or _takes(member, field)):
            yield from _field(space, section, field, settled)
    yield from _of_member(space, section, member, settled)


def _member(section: str, recipe: Recipe) -> str:
    name = getattr(getattr(recipe, section), "name", "")
    return name if section in NOUNS and name in family(section) else ""


def _takes(member: str, field: str) -> bool:
    return not member or field in family("model").options(member)


def _field(space: Space, section: str, field: str, recipe: Recipe) -> Iterator[Dimension]:
    key = f"{section}.{field}"
    search = search_of(type(getattr(recipe, section)).model_fields[field])
    if space.wanted(key, search) and search is not None:
        value = _value(recipe, key)
        options = _options(section, field, search)
        yield Dimension(key, key, search, _start(search, value), _whole(value), options)


def _of_member(space: Space, section: str, member: str, recipe: Recipe) -> Iterator[Dimension]:
    """The options of the member that a section has chosen."""
    for option, search in family(section).searches(member).items() if member else ():
        key = f"{section}.{option}"
        if space.wanted(key, search):
            value = _value(recipe, key)
            start = _start(search, value)
            yield Dimension(f"{section}.{member}.{option}", key, search, start, _whole(value))


def _of_jitter(space: Space) -> Iterator[Dimension]:
    """The options of the jitters that the recipe uses; which ones it uses stays as it is."""
    table = settle(validate(space.given), space.dataset).jitter
    for name, options in table.items() if isinstance(table, dict) else ():
        for option, search in family("jitter").searches(name).items():
            key = f"jitter.{name}.{option}"
            if space.wanted(key, search):
                value = options.get(option, family("jitter").options(name)[option].default)
                yield Dimension(key, key, search, _start(search, value), _whole(value))


def _options(section: str, field: str, search: Search) -> tuple[Any, ...]:
    if isinstance(search, Range) or search.values:
        return () if isinstance(search, Range) else search.values
    return tuple(sorted(family(section if field == "name" else field)))


def _start(search: Search, value: Any) -> Any:
    return 1.0 if isinstance(search, Range) and search.times else value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _value(recipe: Recipe, key: str) -> Any:
    """The value of a dotted key in a settled recipe; the member's own default where it is not set."""
    held: Any = recipe.tree()
    for part in key.split("."):
        held = held.get(part) if isinstance(held, dict) else None
    section, _, option = key.partition(".")
    if held is not None:
        return held
    if section == "jitter":
        name, _, option = option.partition(".")
        return family("jitter").options(name)[option].default
    member = _member(section, recipe)
    options = family(section).options(member) if member else {}
    return options[option].default if option in options else None
