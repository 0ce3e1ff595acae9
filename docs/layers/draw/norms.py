"""Norms: the index sets as colored cubes, what they do to images, and who feels a gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from draw import pictures
from draw.style import BACKWARD, FORWARD, INK, PALE, SIGNED, figure
from visus.reference import mixture, normalization

SETS: dict[str, Callable] = {
    "batch norm": normalization.batch_sets,
    "instance norm": normalization.instance_sets,
    "layer norm": normalization.layer_sets,
    "group norm": lambda shape: normalization.group_sets(shape, 2),
    "layer norm 2d": normalization.pixel_sets,
}
FORMULAS = {
    "batch norm": "same C",
    "instance norm": "same N, same C",
    "layer norm": "same N",
    "group norm": "same N, same group of C",
    "layer norm 2d": "same N, same pixel",
}


@pictures.member("norm-sets")
def sets() -> Figure:
    """Each norm averages over another set S_i (blue) of the batch: N samples, C channels, H x W pixels."""
    fig = figure(10, 2.3)
    axes = fig.subplots(1, 5)
    shape = 4, 6, 4
    for ax, (name, find) in zip(axes, SETS.items(), strict=True):
        members = next(s for s in find(shape) if np.ravel_multi_index((0, 5, 0), shape) in s)
        inside = np.zeros(shape, dtype=bool)
        inside.flat[members] = True
        cube(ax, inside)
        ax.set_title(f"{name}\n", color=INK, fontweight="bold")
        ax.text(0.5, 1.03, FORMULAS[name], transform=ax.transAxes, ha="center", color=FORWARD)
    return fig


RIGHT, BACK, UP = np.array([0.82, -0.3]), np.array([0.62, 0.42]), np.array([0.0, 1.0])


def cube(ax: Axes, inside: np.ndarray) -> None:
    """The visible faces of the block `inside (N, C, pixels)`: C to the right, N behind, pixels down."""
    n, c, p = inside.shape
    up = UP * 0.92
    corner = lambda k, j, i: k * BACK + j * RIGHT - i * up  # noqa: E731
    faces = [(corner(0, j, i), RIGHT, -up, inside[0, j, i], 0) for j in range(c) for i in range(p)]
    faces += [
        (corner(k, j, 0), RIGHT, BACK, inside[k, j, 0], 1) for k in range(n) for j in range(c)
    ]
    faces += [(corner(k, c, i), BACK, -up, inside[k, -1, i], 2) for k in range(n) for i in range(p)]
    tones = [["#f4f4f4", "#fbfbfb", "#e9e9e9"], ["#3f86c4", "#6aa6da", "#2d6ea8"]]
    shapes = [[at, at + one, at + one + other, at + other] for at, one, other, _, _ in faces]
    colors = [tones[int(chosen)][side] for *_, chosen, side in faces]
    ax.add_collection(
        PolyCollection(shapes, facecolors=colors, edgecolors="#7a7a7a", linewidths=0.6)
    )
    _axis_name(ax, corner(0, c / 2, p) + np.array([-0.25, -0.55]), "C")
    _axis_name(ax, corner(n / 2, c, p) + np.array([0.5, -0.3]), "N")
    _axis_name(ax, corner(0, 0, p / 2) + np.array([-0.75, 0]), "H,W")
    ax.set(xlim=(-1.6, 8.2), ylim=(-5.8, 2.0), aspect="equal")
    ax.set_axis_off()


def _axis_name(ax: Axes, at: np.ndarray, text: str) -> None:
    ax.text(at[0], at[1], text, ha="center", va="center", fontsize=9, color="#444444")


# ---- images through the norms ---------------------------------------------------------

NORMS = {
    "batch": (normalization.batch_norm, normalization.batch_norm_backward),
    "instance": (normalization.instance_norm, normalization.instance_norm_backward),
    "layer": (normalization.layer_norm, normalization.layer_norm_backward),
    "group (2)": (
        lambda x: normalization.group_norm(x, 2),
        lambda g, x: normalization.group_norm_backward(g, x, 2),
    ),
    "layer 2d": (normalization.pixel_norm, normalization.pixel_norm_backward),
    "BIN, rho 1/2": (
        lambda x: mixture.batch_instance_norm(x, np.full(4, 0.5)),
        lambda g, x: mixture.batch_instance_norm_backward(g, x, np.full(4, 0.5)),
    ),
}


def photos() -> np.ndarray:
    """(3, 4, 9, 9): one scene at three exposures (dark, faint, bright), in four channels."""
    i, j = np.mgrid[:9, :9] / 8 - 0.5
    disc = np.exp(-12 * ((i + 0.12) ** 2 + (j - 0.1) ** 2))
    planes = [disc, 0.5 + i, 0.5 + 0.5 * np.cos(9 * j), disc * (0.5 - j)]
    scene = np.stack(planes)
    return np.stack([0.05 + 0.25 * scene, 0.45 + 0.1 * scene, 0.3 + 0.65 * scene])


@pictures.member("norm-images")
def images() -> Figure:
    """One scene at three exposures, before and after each norm (first channel, gray from -2 to 3).
    Batch norm keeps the difference of exposure; instance, layer and group norm take it away."""
    fig = figure(9.4, 4.3)
    x = photos()
    columns = {"x": 4.5 * x - 2} | {name: f(x) for name, (f, _) in NORMS.items()}
    axes = fig.subplots(3, len(columns))
    for column, (name, y) in enumerate(columns.items()):
        for row in range(3):
            ax = axes[row, column]
            ax.imshow(y[row, 0], cmap="gray", vmin=-2, vmax=3, interpolation="nearest")
            _frame(ax, FORWARD if column else INK)
            if column == 0:
                ax.set_ylabel(["dark", "faint", "bright"][row], color=INK)
        axes[0, column].set_title(name, color=FORWARD if column else INK)
    return fig


@pictures.member("norm-gradients")
def gradients() -> Figure:
    """Backward: the gradient g enters at one pixel of one channel of sample 2 (left). Color shows who
    feels it (contrast raised, four channels a sample): exactly S_i. In batch norm, other samples do."""
    fig = figure(9.4, 4.3)
    x = photos() + 0.2 * np.random.default_rng(0).normal(size=(3, 4, 9, 9))
    g = np.zeros_like(x)
    g[1, 0, 4, 4] = 1
    columns = {"g": g} | {name: backward(g, x)["x"] for name, (_, backward) in NORMS.items()}
    axes = fig.subplots(3, len(columns))
    for column, (name, dx) in enumerate(columns.items()):
        raised = np.sign(dx) * (np.abs(dx) / np.abs(dx).max()) ** 0.25
        for row in range(3):
            ax = axes[row, column]
            ax.imshow(_four(raised[row]), cmap=SIGNED, vmin=-0.8, vmax=0.8, interpolation="nearest")
            ax.axhline(8.5, color=INK, lw=0.8)
            ax.axvline(8.5, color=INK, lw=0.8)
            _frame(ax, BACKWARD if column else INK)
            if column == 0:
                ax.set_ylabel(f"sample {row + 1}", color=INK)
        axes[0, column].set_title(name, color=BACKWARD if column else INK)
    return fig


def _four(planes: np.ndarray) -> np.ndarray:
    """Four channels as one picture, two by two."""
    return np.block([[planes[0], planes[1]], [planes[2], planes[3]]])


def _frame(ax: Axes, color: str) -> None:
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=PALE if color == INK else color, lw=1)
