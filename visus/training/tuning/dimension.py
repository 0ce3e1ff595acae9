"""One key that varies, and nested tables of a recipe with dotted keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from visus.family import Choice, Range, Search
from visus.training.recipe import Recipe

Tree = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One key that varies. `name` tells the same key of two members apart: optimizer.sgd.momentum.

    `default` is where the recipe stands without tuning: a value, a factor of 1 where the range
    is in `times`, or None where it does not say.
    """

    name: str
    key: str
    search: Search
    default: Any = None
    whole: bool = False
    options: tuple[Any, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As the ledger holds it."""
        how = self.search
        if isinstance(how, Choice):
            return {"name": self.name, "key": self.key, "choices": list(self.options)}
        ends = {"low": how.low, "high": how.high, "log": how.log, "times": how.times}
        return {"name": self.name, "key": self.key, **ends}


def put(tree: Tree, key: str, value: Any) -> None:
    """Set a dotted key in nested tables; a section given as a bare name opens."""
    *path, last = key.split(".")
    for part in path:
        held = tree.get(part)
        tree[part] = held if isinstance(held, dict) else {"name": held} if held else {}
        tree = tree[part]
    tree[last] = value


def given(recipe: Recipe) -> Tree:
    """Only the keys of a recipe that were set by hand: what is "auto", or left out, may vary."""

    def bare(value: Any) -> Any:
        return {k: bare(v) for k, v in value.items() if v != "auto"} if _table(value) else value

    return bare(recipe.model_dump(mode="json", exclude_unset=True, exclude_none=True))


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def is_set(tree: Tree, key: str) -> bool:
    held: Any = tree
    for part in key.split("."):
        if isinstance(held, str):
            return part == "name"  # `optimizer = "adamw"`
        if not isinstance(held, dict) or part not in held:
            return False
        held = held[part]
    return True


def written(value: float, dimension: Dimension) -> int | float:
    """Three digits are enough, and read better; a whole number is a multiple of the range's step."""
    how = dimension.search
    if dimension.whole and isinstance(how, Range):
        least = 0 if how.low == 0 else how.step
        return max(least, round(value / how.step) * how.step)
    return float(f"{value:.3g}")
