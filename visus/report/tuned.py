"""What is said at the end of a search: the recipe, how it compares, where it is."""

from __future__ import annotations

import shlex
from typing import Any

from visus.report import words


def summary(result: dict[str, Any]) -> str:
    """A few lines for the terminal, from what `visus tune --json` prints."""
    finals = {f.get("number"): f for f in words.tables(result.get("finals"))}
    chosen, counts = finals.get(result.get("chosen"), {}), result.get("counts") or {}
    metrics = result.get("metrics") or {}
    lines = [_headline(result, metrics, chosen), _counts(counts, metrics)]
    values = result.get("values") or {}
    lines += [f"  {key} = {words.text(value)}" for key, value in values.items()]
    recipe = shlex.quote(str(result.get("recipe")))
    return "\n".join(
        ["", *lines, "", f"  recipe  {result.get('recipe')}", f"  report  {result.get('report')}",
         f"   train  visus train --recipe {recipe}"]
    )  # fmt: skip


def _headline(result: dict[str, Any], metrics: dict[str, Any], chosen: dict[str, Any]) -> str:
    error = words.percent(metrics.get("validation_error"))
    before = metrics.get("default_validation_error")
    if not result.get("values"):
        return f"The plain recipe is the best: validation error {error}."
    beside = f"; the plain recipe: {words.percent(before)}" if before is not None else ""
    seeds = len(words.listed(chosen.get("errors")))
    sure = f" (mean of {seeds} fresh seeds)" if seeds else " (one training: partly luck)"
    return f"Best validation error {error}{sure}{beside}. The test images were not touched."


def _counts(counts: dict[str, int], metrics: dict[str, Any]) -> str:
    names = {"done": "to the end", "pruned": "ended early", "finals": "finals"}
    parts = [f"{n} {names.get(kind, kind)}" for kind, n in counts.items() if kind != "interrupted"]
    pace = metrics.get("trials_per_minute")
    speed = f"; {words.plain(pace)} a minute" if pace else ""
    return f"Trials: {', '.join(parts)}{speed}."
