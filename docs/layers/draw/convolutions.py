"""Convolution and its two local gradients as convolutions; dilated kernels; the atrous pyramid."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from draw import pictures
from draw.style import (
    BACKWARD,
    BLUES,
    FORWARD,
    INK,
    ORANGES,
    PALE,
    figure,
    matrix,
    outline,
    panels,
    uniform,
    word,
)
from visus.reference import atrous
from visus.reference.convolution import convolution, convolution_backward

X = np.array([[1, 0, 2, 1, 0], [0, 3, 1, 0, 1], [2, 1, 0, 2, 1], [0, 1, 3, 1, 0], [1, 0, 1, 0, 2]])
W = np.array([[1, 0, -1], [2, 1, 0], [0, -1, 1]])
G = np.array([[1, 2], [-1, 3]])
WIDTHS = [7.4, 1, 3.4, 1, 5.4]


@pictures.member("convolution")
def three() -> Figure:
    """A convolution of stride 2 and its two gradients, each a convolution again. The framed number comes
    from the framed window. By x: g is spread with zeros and padded, the kernel turned by half a
    turn. By the weight: g is the kernel, and stride and dilation change places."""
    x, w, g = (a[None, None].astype(float) for a in (X, W, G))
    y = convolution(x, w, stride=2)
    back = convolution_backward(g, x, w, stride=2)
    spread = np.zeros((7, 7))
    spread[2:5:2, 2:5:2] = G
    fig = figure(8.4, 9)
    rows = [
        ("forward:  y = x * weight,  stride 2", X, W, y[0, 0], BLUES, FORWARD),
        ("backward by x:  spread g * turned weight,  stride 1", spread, W[::-1, ::-1], back["x"][0, 0], ORANGES, BACKWARD),
        ("backward by weight:  x * g,  dilation 2", X, G, back["weight"][0, 0], ORANGES, BACKWARD),
    ]  # fmt: skip
    for panel, row in zip(panels(fig, [6, 8, 6]), rows, strict=True):
        axes = panel.subplots(1, 5, width_ratios=WIDTHS)
        panel.suptitle(row[0], color=row[5], fontweight="bold", fontsize=11)
        _equation(axes, *row[1:])
    return fig


def _equation(axes, image, kernel, result, colors, color) -> None:
    """image * kernel = result, with one window and what becomes of it framed."""
    matrix(axes[0], image, colors=colors)
    word(axes[1], "*")
    matrix(axes[2], kernel, colors=colors)
    word(axes[3], "=")
    matrix(axes[4], result, colors=colors)
    outline(axes[4], 0, result.shape[1] - 1, 1, 1, color)
    if kernel.shape == (2, 2):  # dilated: the window's four pixels lie two apart
        for i, j in np.ndindex(2, 2):
            outline(axes[0], 2 * i, 2 + 2 * j, 1, 1, color)
    else:
        outline(axes[0], 0, image.shape[1] - 3, 3, 3, color)
    uniform(axes[::2], WIDTHS[::2], image.shape[0] + 0.4)


@pictures.member("dilated-receptive-fields")
def fields() -> Figure:
    """Nine weights at rates 1, 2 and 6: the field grows to 3, 5 and 13 pixels, the cost does not.
    Below, backward: one output's gradient reaches exactly these nine pixels."""
    fig = figure(8.6, 6)
    axes = fig.subplots(2, 3)
    x, weight = np.zeros((1, 1, 15, 15)), np.arange(4.0, 13).reshape(1, 1, 3, 3)
    g = np.zeros_like(x)
    g[0, 0, 7, 7] = 1
    for column, rate in enumerate((1, 2, 6)):
        dx = atrous.unit_backward(g, x, {"weight": weight, "relu": False}, rate=rate)["x"][0, 0]
        span = atrous.receptive_field(3, rate)
        start = 7 - span // 2
        for row, (values, colors, color) in enumerate(
            [((dx > 0) * 1.0, BLUES, FORWARD), (dx, ORANGES, BACKWARD)]
        ):
            matrix(axes[row, column], values, colors=colors, numbers=False)
            outline(axes[row, column], start, start, span, span, color, lw=1.6)
        axes[0, column].set_title(f"rate {rate}: sees {span} x {span}", color=FORWARD)
        axes[1, column].set_title("gradient of one output", color=BACKWARD)
    return fig


@pictures.member("aspp")
def pyramid() -> Figure:
    """ASPP: forward (blue) every branch sees the same x at its own scale; backward (orange) each gets
    its channels of the gradient, and x the sum of what the branches return."""
    fig = figure(9, 4.4)
    ax = fig.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 5.4))
    ax.set_axis_off()
    names = [
        "1 x 1",
        "3 x 3, rate 6",
        "3 x 3, rate 12",
        "3 x 3, rate 18",
        "image mean, 1 x 1, repeat",
    ]
    _box(ax, 0.6, 2.7, 1.1, 4.6, "x\n(N, C, H, W)")
    _box(ax, 5.35, 2.7, 1.2, 4.6, "concatenate\nchannels")
    _box(ax, 7.75, 2.7, 1.2, 1.0, "1 x 1\nprojection")
    for k, name in enumerate(names):
        y = 4.7 - k
        _box(ax, 2.95, y, 2.2, 0.62, name)
        _both(ax, (1.17, y), (1.83, y))
        _both(ax, (4.07, y), (4.73, y))
    _both(ax, (5.97, 2.7), (7.13, 2.7))
    _both(ax, (8.37, 2.7), (9.3, 2.7))
    ax.text(9.45, 2.76, "y", color=FORWARD, va="center", fontsize=12)
    ax.text(9.45, 2.5, "g", color=BACKWARD, va="center", fontsize=12)
    return fig


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0.02",
            facecolor="#f5f8fb", edgecolor="#8a8a8a",
        )
    )  # fmt: skip
    ax.text(x, y, text, ha="center", va="center", color=INK, fontsize=9.5)


def _both(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow forward and, a little below, one back."""
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
    low = lambda p: (p[0], p[1] - 0.14)  # noqa: E731
    high = lambda p: (p[0], p[1] + 0.06)  # noqa: E731
    ax.add_patch(FancyArrowPatch(high(start), high(end), color=FORWARD, **style))
    ax.add_patch(FancyArrowPatch(low(end), low(start), color=BACKWARD, **style))


@pictures.member("aspp-gradient")
def pyramid_gradient() -> Figure:
    """Who feels one output pixel, branch by branch and together (rates 1, 2 and 4 at 13 x 13): nine
    pixels at each scale, and through the image mean all of them a little."""
    rng = np.random.default_rng(4)
    x, g = np.abs(rng.normal(size=(1, 2, 13, 13))), np.zeros((1, 1, 13, 13))
    g[0, 0, 6, 6] = 1
    rates = (1, 1, 2, 4)
    branches = [{"weight": np.abs(rng.normal(size=(2, 2, k, k)))} for k in (1, 3, 3, 3)]
    image = {"weight": np.full((2, 2, 1, 1), 12.0)}
    ones = lambda channels: {"weight": np.ones((1, channels, 1, 1)), "relu": False}  # noqa: E731
    alone = [([one], None, (rate,)) for one, rate in zip(branches, rates, strict=True)]
    rows = [*alone, ([branches[0]], image, (1,)), (branches, image, rates)]
    names = ["1 x 1", "rate 1", "rate 2", "rate 4", "1 x 1 + image mean", "all together"]
    fig = figure(9, 1.85)
    for ax, name, (some, mean, at) in zip(fig.subplots(1, 6), names, rows, strict=True):
        project = ones(2 * len(some) + 2 * (mean is not None))
        dx = atrous.aspp_backward(g, x, some, mean, project, rates=at)["x"][0, 0]
        ax.imshow(np.sqrt(np.abs(dx)), cmap=ORANGES, vmin=0, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=True, color=PALE)
        ax.set_title(name, color=BACKWARD, fontsize=9)
    return fig
