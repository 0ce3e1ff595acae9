"""Reading a recipe: TOML file, then `key=value` edits, then keywords; one line an error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from visus.errors import RecipeError, nearest
from visus.training.recipe import Named, Recipe

_WORDS = {  # what others call our keys, for the hint only
    "lr": "optimizer.rate",
    "learning_rate": "optimizer.rate",
    "weight_decay": "regularization.l2",
    "momentum": "optimizer.momentum",
    "smoothing": "loss.label_smoothing",
    "augmentation": "jitter",
    "amp": "training.precision",
    "patience": "training.early_stopping",
    "grad_clip": "training.clip",
}


def load_recipe(
    path: str | Path | None = None, sets: Sequence[str] = (), /, **overrides: Any
) -> Recipe:
    """The recipe of a TOML file (or the defaults), with edits on top.

    `sets` are "key=value" as on the command line: a dotted key, a value as TOML writes it or
    a bare word. Keywords: a section (`optimizer={"rate": 0.1}`), a path with double
    underscores (`optimizer__rate=0.1`) or a key that occurs once (`epochs=10`); such a short
    key may stand in `sets` too. Raises `RecipeError`, one line, for whatever does not fit.
    """
    tree = _read(Path(path)) if path is not None else {}
    tree = apply(tree, sets)
    for key, value in overrides.items():
        _put(tree, key.replace("__", "."), value)
    return validate(tree)


def validate(tree: Mapping[str, Any]) -> Recipe:
    """The checked recipe of nested tables."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(_sentence(tree, error.errors())) from None


def apply(tree: Mapping[str, Any], edits: Sequence[str]) -> dict[str, Any]:
    """A copy of `tree` with the "key=value" edits done in order."""
    edited = _copy(tree)
    for edit in edits:
        key, sign, value = edit.partition("=")
        if not sign or not key.strip():
            raise RecipeError(
                f"recipe: '{edit}' is no edit; write key=value, as optimizer.rate=0.1"
            )
        _put(edited, key.strip(), _value(value.strip()))
    return edited


def differences(asked: Recipe, held: Recipe) -> list[str]:
    """Where `asked` wants other than `held` has: "key: held there, asked here"; auto wants nothing."""
    wishes, there = dict(_leaves(asked.tree())), dict(_leaves(held.tree()))
    return [
        f"{key} is {there.get(key, 'not set')} there and {wish} here"
        for key, wish in wishes.items()
        if wish != "auto" and wish != there.get(key)
    ]


def _leaves(tree: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        inside = isinstance(value, Mapping)
        found += _leaves(value, f"{before}{key}.") if inside else [(f"{before}{key}", value)]
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"recipe: cannot read {path}: {error.strerror}; give a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe: {path} is not TOML: {error}; see docs/recipe.md") from None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    path = _full(key).split(".")
    table = tree
    for place, part in enumerate(path[:-1]):
        if not isinstance(table.get(part), dict):
            table[part] = _opened(table.get(part), path[: place + 1])
        table = table[part]
    table[path[-1]] = value


def _opened(value: Any, path: list[str]) -> dict[str, Any]:
    # `optimizer = "adamw"` opens to a table when one of its options is set.
    section = Recipe.model_fields.get(path[0])
    named = (
        section and isinstance(section.annotation, type) and issubclass(section.annotation, Named)
    )
    return {"name": value} if named and isinstance(value, str) else {}


def _full(key: str) -> str:
    """The whole path of a key that occurs once in the tree, such as `epochs`."""
    if "." in key or key in Recipe.model_fields:
        return key
    found = [path for path in paths() if path.endswith(f".{key}")]
    return found[0] if len(found) == 1 else key


def paths() -> list[str]:
    """All keys of the recipe, dotted: "seed", "data.path", ..."""
    return [".".join(path) for path in _walk(Recipe)]


def _walk(section: type[BaseModel], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _walk(inner, (*before, name))
        else:
            found.append((*before, name))
    return found


def _sentence(tree: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> str:
    """One line for the first error; the branches of a union are alternatives of one sentence."""
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    place = _place(first)
    if first["type"] == "extra_forbidden":
        return f"recipe: unknown key '{place}'; {_hint(place)}see docs/recipe.md"
    wishes = dict.fromkeys(_wish(e["msg"]) for e in errors if _place(e) == place)
    return f"recipe: {place} = {_given(tree, place)}; it should be {' or '.join(wishes)}"


def _place(error: ErrorDetails) -> str:
    # pydantic ends the location with the branch of a union: cut it off after the field.
    parts = [str(part) for part in error["loc"]]
    known = {tuple(path) for path in _walk(Recipe)} | {(name,) for name in Recipe.model_fields}
    if error["type"] == "extra_forbidden":
        return ".".join(parts)
    cut = next((n for n in range(len(parts), 0, -1) if tuple(parts[:n]) in known), len(parts))
    return ".".join(parts[:cut])


def _given(tree: Any, place: str) -> str:
    for part in place.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return repr(tree)


def _wish(message: str) -> str:
    if "valid dictionary" in message:
        return "a table"
    wish = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return wish.removeprefix("a valid ").split(", unable")[0]


def _hint(place: str) -> str:
    section, _, key = place.rpartition(".")
    inside = [path.rpartition(".")[2] for path in paths() if path.rpartition(".")[0] == section]
    inside += [] if section else list(Recipe.model_fields)
    if close := nearest(key, inside):
        return f"did you mean '{close}'? "
    elsewhere = {path.rpartition(".")[2]: path for path in paths()} | _WORDS
    close = nearest(key, elsewhere)
    return f"did you mean '{elsewhere[close]}'? " if close else ""
