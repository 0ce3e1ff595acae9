"""One look for all pictures: colors with a meaning, matrices with numbers, arrows between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

FORWARD, BACKWARD, INK, PALE = "#0b62a4", "#d1580b", "#2b2b2b", "#d9d9d9"
CHOSEN = ["#0b62a4", "#b8860b", "#117755", "#8e3a8e", "#a33b3b", "#555555"]
BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#a9cdea"])
ORANGES = LinearSegmentedColormap.from_list("oranges", ["#ffffff", "#f5bd8f"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#3b6fb6", "#ffffff", "#d1580b"])

mpl.rcParams.update(
    {
        "svg.hashsalt": "visus",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#888888",
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "savefig.facecolor": "white",
    }
)


def figure(width: float, height: float) -> Figure:
    """An empty figure without pyplot's global state; sizes in inches."""
    fig = Figure(figsize=(width, height), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr]
    return fig


def panels(fig: Figure, heights: Sequence[float]) -> list[SubFigure]:
    """The figure cut into rows of the given height ratios."""
    made = np.atleast_1d(np.asarray(fig.subfigures(len(heights), 1, height_ratios=heights)))
    return list(made)


def matrix(
    ax: Axes,
    values: Any,
    *,
    title: str = "",
    colors: Any = BLUES,
    numbers: bool = True,
    high: float | None = None,
    size: float = 9,
) -> None:
    """A matrix as cells with their numbers; the larger its absolute value, the darker a cell."""
    values = np.asarray(values, dtype=float)
    rows, columns = values.shape
    ax.imshow(np.abs(values), cmap=colors, vmin=0, vmax=high, interpolation="nearest")
    grid = {"color": "#9a9a9a", "lw": 0.6, "clip_on": False}
    ax.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, **grid)
    ax.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, **grid)
    for (i, j), value in np.ndenumerate(values if numbers else np.empty((0, 0))):
        ax.text(j, i, short(value), ha="center", va="center", fontsize=size, color=INK)
    ax.set(xlim=(-0.55, columns - 0.45), ylim=(rows - 0.45, -0.55))
    ax.set_axis_off()
    ax.set_title(title, color=INK)


def uniform(axes: Iterable[Axes], widths: Iterable[float], rows: float) -> None:
    """Cells of one size on axes whose width ratios are `widths`: all show `rows` rows."""
    for ax, width in zip(axes, widths, strict=True):
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        middle, height = (left + right) / 2, (bottom + top) / 2
        ax.set(xlim=(middle - width / 2, middle + width / 2))
        ax.set(ylim=(height + rows / 2, height - rows / 2))


def short(value: float) -> str:
    """A number in as few signs as say it."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def outline(
    ax: Axes, row: float, column: float, height: float, width: float, color: str, lw: float = 2.4
) -> None:
    """A colored frame around the cells from (row, column)."""
    ax.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), width, height, fill=False, edgecolor=color, lw=lw, zorder=3
        )
    )


def word(ax: Axes, text: str, *, color: str = INK, size: float = 15) -> None:
    """An axes that holds nothing but a sign or word."""
    ax.set_axis_off()
    ax.text(
        0.5, 0.5, text, ha="center", va="center", fontsize=size, color=color, transform=ax.transAxes
    )


def curve_and_gradient(ax: Axes, x: Any, y: Any, slope: Any, *, title: str) -> None:
    """A function in blue, its gradient in orange and dashed, with the two axes through 0."""
    ax.axhline(0, color=PALE, lw=0.8, zorder=0)
    ax.axvline(0, color=PALE, lw=0.8, zorder=0)
    ax.plot(x, y, color=FORWARD, lw=2.2)
    ax.plot(x, slope, color=BACKWARD, lw=1.8, ls=(0, (5, 2)))
    ax.set_title(title, color=INK)


def legend(fig: Figure, names: Iterable[str] = ("y  forward", "dy/dx  backward")) -> None:
    """The one legend of a figure of curves and gradients, above it."""
    from matplotlib.lines import Line2D

    styles = [{"color": FORWARD, "lw": 2.2}, {"color": BACKWARD, "lw": 1.8, "ls": (0, (5, 2))}]
    lines = [Line2D([], [], **style) for style in styles]
    fig.legend(lines, list(names), loc="outside upper center", ncols=2, frameon=False)
