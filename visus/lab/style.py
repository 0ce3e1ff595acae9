"""How the lab's figures look: blue forward, orange backward, few lines, words on the curves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from visus.errors import UsageError

BLUE, ORANGE, GREY, GREEN, RED, VIOLET = (
    "#1f6fb4", "#e07b1a", "#767676", "#2a8f5b", "#c0392b", "#7d4fa3",
)  # fmt: skip
COLORS = (BLUE, ORANGE, GREEN, VIOLET, RED, GREY)
RC = {
    "font.size": 9, "font.family": "DejaVu Sans", "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 9.5, "axes.titlelocation": "left",
    "axes.titleweight": "bold", "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.8, "figure.dpi": 110,
    "svg.hashsalt": "visus", "axes.axisbelow": True, "figure.facecolor": "white",
}  # fmt: skip


def matplotlib() -> Any:
    """matplotlib, or the sentence that says how to get it."""
    try:
        import matplotlib as found
    except ImportError:
        raise UsageError(
            "lab: figures need matplotlib, which is not here; pip install 'visus[lab]'"
        ) from None
    return found


def styled() -> AbstractContextManager[Any]:
    """The context in which figures are drawn."""
    return matplotlib().rc_context(RC)


def new_figure(inches: tuple[float, float]) -> Any:
    """An empty figure without a window."""
    matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=inches, layout="constrained")


def band(axes: Any, x: Any, runs: Any, **given: Any) -> Any:
    """The median over seeds as a line, lowest to highest as a band."""
    import numpy as np

    y = np.asarray(runs, float)
    (line,) = axes.plot(x, np.nanmedian(y, 0), **given)
    axes.fill_between(x, np.nanmin(y, 0), np.nanmax(y, 0), color=line.get_color(), alpha=0.15, lw=0)
    return line


def dots(
    axes: Any, names: Sequence[str], runs: Sequence[Sequence[float]], colors: Any = None
) -> None:
    """A bar for the mean of each name and a dot for each seed; `runs[name][seed]`."""
    import numpy as np

    for i, values in enumerate(runs):
        color = (colors or COLORS)[i % len(colors or COLORS)]
        axes.bar(i, np.mean(values), 0.62, color=color, alpha=0.35)
        axes.plot(np.linspace(i - 0.15, i + 0.15, len(values)), values, "o", ms=3.5, color=color)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="x", visible=False)


def percent(axes: Any, which: str = "y") -> None:
    """Shares 0..1 as percent on an axis."""
    matplotlib()
    from matplotlib.ticker import PercentFormatter

    getattr(axes, f"{which}axis").set_major_formatter(PercentFormatter(1.0, symbol=" %"))
