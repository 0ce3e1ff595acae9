"""Pooling: windows, winners and the way back; dropout with its mask."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from draw import pictures
from draw.style import (
    BACKWARD,
    BLUES,
    CHOSEN,
    FORWARD,
    INK,
    ORANGES,
    figure,
    matrix,
    outline,
    panels,
    word,
)
from visus.reference import pooling, regularization

X = np.array([[1, 5, 2, 0], [3, 4, 7, 1], [0, 2, 1, 6], [8, 1, 3, 2]], dtype=float)
G = np.array([[1, -2], [4, 3]], dtype=float)


@pictures.member("pooling")
def pooling_both() -> Figure:
    """2 x 2 pooling, forward and backward. Max-pool: only the winner of each window (framed) gets the
    gradient. Average pool: each of the four gets a quarter."""
    fig = figure(9.2, 5.2)
    x, g = X[None, None], G[None, None]
    rows = [
        ("max-pool", pooling.max_pool(x, 2), pooling.max_pool_backward(g, x, 2)["x"]),
        ("average pool", pooling.average_pool(x, 2), pooling.average_pool_backward(g, x, 2)["x"]),
    ]
    for k, (panel, (name, y, dx)) in enumerate(zip(panels(fig, [1, 1]), rows, strict=True)):
        axes = panel.subplots(1, 7, width_ratios=[4, 0.8, 2, 0.5, 2, 0.8, 4])
        panel.suptitle(name, color=INK, fontweight="bold", fontsize=11)
        matrix(axes[0], X, title="x", colors=BLUES)
        matrix(axes[2], y[0, 0], title="y", colors=BLUES)
        matrix(axes[4], G, title="g", colors=ORANGES)
        matrix(axes[6], dx[0, 0], title="dL/dx", colors=ORANGES)
        word(axes[1], "$\\rightarrow$", color=FORWARD)
        word(axes[3], "")
        word(axes[5], "$\\rightarrow$", color=BACKWARD)
        _windows(axes, X if k == 0 else None)
    return fig


def _windows(axes: list[Axes], values: np.ndarray | None) -> None:
    """Frame the four windows in four colors; with values, only their winners in the image."""
    for k, (i, j) in enumerate(np.ndindex(2, 2)):
        color = CHOSEN[k]
        outline(axes[2], i, j, 1, 1, color, lw=2)
        outline(axes[4], i, j, 1, 1, color, lw=2)
        at, size = (2 * i, 2 * j), 2
        if values is not None:
            block = values[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            row, column = np.unravel_index(block.argmax(), (2, 2))
            at, size = (2 * i + int(row), 2 * j + int(column)), 1
        inset = 0.06
        for ax in (axes[0], axes[6]):
            outline(
                ax, at[0] + inset, at[1] + inset, size - 2 * inset, size - 2 * inset, color, lw=2
            )


PLANS = [
    ("kernel 2, stride 2", 6, {"kernel": 2}),
    ("kernel 3, stride 1: windows share pixels", 6, {"kernel": 3, "stride": 1}),
    ("kernel 3, stride 2, padding 1", 6, {"kernel": 3, "stride": 2, "padding": 1}),
    ("kernel 2, stride 2, dilation 2", 6, {"kernel": 2, "stride": 2, "dilation": 2}),
    ("kernel 2, stride 2 on 7: one pixel unseen", 7, {"kernel": 2}),
    ("the same in ceil mode: one more window", 7, {"kernel": 2, "ceil_mode": True}),
]


@pictures.member("pooling-windows")
def windows() -> Figure:
    """Which pixels (row of boxes; dotted: padding) each window reads along one axis: a line of dots for each
    output. Hollow dots meet no pixel: they are -inf in max-pool, 0 or not counted in the average."""
    fig = figure(9, 4.6)
    for ax, (title, size, plan) in zip(fig.subplots(2, 3).flat, PLANS, strict=True):
        outputs = pooling.max_pool(np.zeros((1, 1, size)), **plan).shape[2]
        kernel, padding = plan["kernel"], plan.get("padding", 0)
        stride, dilation = plan.get("stride", kernel), plan.get("dilation", 1)
        for i in range(-padding, size + padding):
            inside = 0 <= i < size
            ax.add_patch(_pixel(i, "#e4eff8" if inside else "white", "-" if inside else ":"))
        for w in range(outputs):
            at = [w * stride - padding + dilation * u for u in range(kernel)]
            color = CHOSEN[w % len(CHOSEN)]
            ax.plot([at[0], at[-1]], [w + 1.1] * 2, color=color, lw=1.2, alpha=0.5)
            for i in at:
                full = color if 0 <= i < size else "white"
                ax.plot(i, w + 1.1, "o", color=color, markerfacecolor=full, ms=7)
        ax.set(xlim=(-1.6, 7.9), ylim=(5.2, -0.7))
        ax.set_axis_off()
        ax.set_title(title, fontsize=9.5, color=INK)
    return fig


def _pixel(i: int, color: str, style: str):
    from matplotlib.patches import Rectangle

    return Rectangle((i - 0.45, -0.4), 0.9, 0.8, facecolor=color, edgecolor="#777777", ls=style)


@pictures.member("dropout")
def dropout() -> Figure:
    """Dropout at rate 1/2: what the mask drops is 0 forward and gets no gradient; the rest is doubled."""
    fig = figure(9.2, 2.15)
    mask = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 1], [0, 0, 1, 0]])
    g = np.array([[1, 2, -1, 3], [0, 1, 2, -2], [3, 1, 1, 0], [2, -1, 1, 1]], dtype=float)
    y = regularization.dropout(X, mask)
    dx = regularization.dropout_backward(g, X, mask)["x"]
    shown = [("x", X, BLUES), ("mask", mask, "Greys"), ("y = 2 x mask", y, BLUES), ("g", g, ORANGES), ("dL/dx = 2 g mask", dx, ORANGES)]  # fmt: skip
    for ax, (title, values, colors) in zip(fig.subplots(1, 5), shown, strict=True):
        high = 2 if colors == "Greys" else None
        matrix(ax, values, title=title, colors=colors, high=high)
    return fig
