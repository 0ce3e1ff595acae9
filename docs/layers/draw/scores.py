"""Linear, softmax with cross entropy, and the signal through depth for each initialization."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from draw import pictures
from draw.style import (
    BACKWARD,
    BLUES,
    CHOSEN,
    FORWARD,
    INK,
    ORANGES,
    PALE,
    figure,
    matrix,
    panels,
    uniform,
    word,
)
from visus.reference import activation, initialization, linear, loss


@pictures.member("softmax")
def softmax() -> Figure:
    """Scores become probabilities; with cross entropy, the gradient by the scores is p - q: it raises the
    right class (here the second) by what it lacks and lowers each other by what it has."""
    fig = figure(9, 2.9)
    axes = fig.subplots(1, 3)
    x, label = np.array([[2.0, 1.0, -0.5, 0.3]]), np.array([1])
    p = linear.softmax(x)
    g = loss.cross_entropy_backward(1.0, x, label)["x"]
    bars = [
        ("scores x", x, FORWARD),
        ("probabilities softmax(x)", p, FORWARD),
        ("gradient p - q", g, BACKWARD),
    ]
    for ax, (title, values, color) in zip(axes, bars, strict=True):
        tones = [
            color if k == 1 else "#9fbfdb" if color == FORWARD else "#eab897" for k in range(4)
        ]
        drawn = ax.bar(np.arange(4) + 1, values[0], color=tones)
        ax.bar_label(drawn, [f"{v:.2f}" for v in values[0]], padding=2, fontsize=9, color=INK)
        ax.axhline(0, color="#888888", lw=0.8)
        ax.margins(y=0.18)
        ax.set(title=title, xlabel="class", xticks=range(1, 5))
    return fig


WIDTHS = [3.2, 0.4, 3.2, 1, 3.2]


@pictures.member("linear")
def products() -> Figure:
    """The linear layer is one matrix product forward and two backward: by x, g meets the weight; by the
    weight, g meets x."""
    x = np.array([[1, 2, 0], [0, 1, 3]], dtype=float)
    w = np.array([[1, 0, 2], [0, 1, -1]], dtype=float)
    g = np.array([[1, -1], [2, 0]], dtype=float)
    back = linear.linear_backward(g, x, w)
    fig = figure(8, 5)
    rows = [
        ("forward:  y = x weight$^T$", x, w.T, linear.linear(x, w), BLUES, FORWARD),
        ("backward by x:  g weight", g, w, back["x"], ORANGES, BACKWARD),
        ("backward by weight:  g$^T$ x", g.T, x, back["weight"], ORANGES, BACKWARD),
    ]
    for panel, (title, a, b, c, colors, color) in zip(panels(fig, [1, 1, 1]), rows, strict=True):
        axes = panel.subplots(1, 6, width_ratios=[5, *WIDTHS])
        word(axes[0], title, color=color, size=10.5)
        matrix(axes[1], a, colors=colors)
        word(axes[2], "")
        matrix(axes[3], b, colors=colors)
        word(axes[4], "=")
        matrix(axes[5], c, colors=colors)
        uniform(axes[1::2], WIDTHS[::2], 3.2)
    return fig


INITS = {
    "normal 0.01": lambda shape, rng: initialization.normal(shape, rng, std=0.01),
    "normal 0.2": lambda shape, rng: initialization.normal(shape, rng, std=0.2),
    "Xavier": initialization.xavier,
    "He": initialization.he,
    "orthogonal, gain 1.41": lambda shape, rng: initialization.orthogonal(shape, rng, gain=2**0.5),
}


@pictures.member("initialization")
def depth() -> Figure:
    """The signal through 20 layers of 100 ReLU units. Forward (left) and backward (right), only weights of
    the right variance keep it; a little off, it dies or explodes by a power of the depth."""
    fig = figure(9, 4)
    axes = fig.subplots(1, 2, sharey=True)
    layers = np.arange(21)
    for color, (name, draw) in zip(CHOSEN, INITS.items(), strict=False):
        forward, backward = _signal(draw, len(layers) - 1)
        strong = {"lw": 4, "alpha": 0.5} if name == "He" else {"lw": 1.6}
        axes[0].plot(layers, forward, color=color, **strong)
        axes[1].plot(layers, backward[::-1], color=color, label=name, **strong)
    for ax, title, tone in ((axes[0], "forward: size of x at each layer", FORWARD), (axes[1], "backward: size of g at each layer", BACKWARD)):  # fmt: skip
        ax.axhline(1, color=PALE, lw=0.8, zorder=0)
        ax.set(yscale="log", ylim=(1e-9, 1e6), xlabel="layer", xticks=range(0, 21, 5))
        ax.set_title(title, color=tone)
    axes[0].set_ylabel("root mean square")
    fig.legend(loc="outside upper center", ncols=5, frameon=False)
    return fig


def _signal(draw, depth: int, width: int = 100) -> tuple[list[float], list[float]]:
    """Root mean squares of x after each layer, and of g going back from the last one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, width))
    weights, inputs, forward = [], [], [_size(x)]
    for _ in range(depth):
        weights.append(draw((width, width), rng))
        inputs.append(linear.linear(x, weights[-1]))
        x = activation.relu(inputs[-1])
        forward.append(_size(x))
    g = rng.normal(size=x.shape)
    backward = [_size(g)]
    for weight, y in zip(weights[::-1], inputs[::-1], strict=True):
        g = linear.linear_backward(activation.relu_backward(g, y)["x"], x, weight)["x"]
        backward.append(_size(g))
    return forward, backward


def _size(x: np.ndarray) -> float:
    return float(np.sqrt((x * x).mean()))
