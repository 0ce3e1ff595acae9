"""The families that a recipe chooses from, and the check of a choice and its options.

The families live where their members are defined; they are looked up when a recipe is
checked, so that reading this file does not import torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from visus.errors import RecipeError, nearest
from visus.family import Family
from visus.training.values import fits

_HOME = {
    "init": ("visus.layers", "inits"),
    "task": ("visus.training.tasks", "tasks"),
    "loss": ("visus.layers", "losses"),
    "norm": ("visus.layers", "norms"),
    "activation": ("visus.layers", "activations"),
    "jitter": ("visus.data", "jitters"),
    "model": ("visus.models", "networks"),
    "optimizer": ("visus.training.optimizers", "optimizers"),
    "schedule": ("visus.training.schedules", "schedules"),
}
NOUNS = tuple(_HOME)


def family(noun: str) -> Family:
    """The family of a noun of the recipe."""
    module, name = _HOME[noun]
    return getattr(importlib.import_module(module), name)


def check_member(
    noun: str, name: str, options: Mapping[str, Any], fields: Iterable[str] = ()
) -> None:
    """Raise `RecipeError` for an unknown name, an unknown option or a value of another kind.

    `fields` are the keys that the section of the recipe has beside the member's options.
    """
    if name == "auto" and not options:
        return
    known = _known(noun, name)
    _check_keys(noun, name, options, [*fields, *known])
    for key, value in options.items():
        if not fits(value, known[key]):
            raise RecipeError(
                f"recipe: {noun}.{key} = {value!r}; {noun} '{name}' takes it as "
                f"{_kind(known[key])}, the default is {known[key]!r}"
            )


def _known(noun: str, name: str) -> dict[str, Any]:
    """The options of a member with their defaults; of the task "auto" those of any task."""
    members = family(noun)
    some = [*members] if name == "auto" and noun == "task" else [name]
    found = {key: p.default for one in some for key, p in members.options(one).items()}
    found.pop("facts", None)  # what a task learned from train is no option
    return found


def _check_keys(noun: str, name: str, options: Iterable[str], known: Iterable[str]) -> None:
    for key in options:
        if key not in known:
            close = nearest(key, known)
            hint = f"did you mean '{close}'? " if close else ""
            raise RecipeError(
                f"recipe: unknown key '{noun}.{key}'; {hint}"
                f"{noun} '{name}' takes: {', '.join(sorted(known)) or 'nothing'}"
            )


def check_jitter(jitter: str | Mapping[str, Mapping[str, Any]]) -> None:
    """Check every jitter of a table."""
    if not isinstance(jitter, str):
        for name, options in jitter.items():
            check_member("jitter", name, options)


def check_model(name: str, options: Mapping[str, Any], fields: Iterable[str] = ()) -> None:
    """Check a network; names that only timm may know are checked when it is built."""
    for noun in ("norm", "activation"):
        if noun in options:
            check_member(noun, options[noun], {})
    networks = family("model")
    if name == "auto":
        known = {key for member in networks for key in networks.options(member)}
        _check_keys("model", name, options, {*known, *fields})
    elif name in networks or importlib.util.find_spec("timm") is None:
        check_member("model", name, options, fields)


def _kind(default: Any) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words.get(type(default), "another kind")
