"""Activations, losses and penalties: curves with their gradients."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from draw import pictures
from draw.style import FORWARD, curve_and_gradient, figure, legend
from visus.reference import activation as a
from visus.reference import linear, loss, regularization


@pictures.member("activations")
def activations() -> Figure:
    """Six activations (blue) and their gradients (orange). Where the gradient is 0, nothing learns."""
    fig = figure(9, 5.2)
    axes = fig.subplots(2, 3, sharex=True)
    x = np.linspace(-4, 4, 321)
    members = [
        ("sigmoid: saturates on both sides", a.sigmoid, a.sigmoid_backward),
        ("tanh: zero-centered, saturates", a.tanh, a.tanh_backward),
        ("ReLU: dead on the left", a.relu, a.relu_backward),
        ("leaky ReLU, slope 0.1: never dead", _leaky, _leaky_backward),
        ("ELU: smooth, mean nearer to 0", a.elu, a.elu_backward),
    ]
    for ax, (title, f, backward) in zip(axes.flat, members, strict=False):
        curve_and_gradient(ax, x, f(x), backward(np.ones_like(x), x)["x"], title=title)
    _maxout(axes[1, 2], x)
    for ax in axes.flat:
        ax.set(ylim=(-1.3, 3.2), xlim=(-4, 4))
    for ax in axes[1]:
        ax.set_xlabel("x")
    legend(fig)
    return fig


def _leaky(x):
    return a.leaky_relu(x, slope=0.1)


def _leaky_backward(g, x):
    return a.leaky_relu_backward(g, x, slope=0.1)


PIECES = np.array([[-0.7, -0.9], [0.15, 0.4], [0.9, -0.6]])  # slope and offset of three lines


def _maxout(ax, x) -> None:
    """Three lines, their maximum, and the slope of the line that wins."""
    lines = x[:, None] * PIECES[:, 0] + PIECES[:, 1]
    won = a.maxout_backward(np.ones((len(x), 1)), lines, 3)["x"]
    for k in range(3):
        ax.plot(x, lines[:, k], color=FORWARD, lw=0.8, alpha=0.5)
    slope = (won * PIECES[:, 0]).sum(axis=1)
    curve_and_gradient(
        ax, x, a.maxout(lines, 3)[:, 0], slope, title="maxout of 3 lines: the winner learns"
    )


@pictures.member("losses-regression")
def regression() -> Figure:
    """Loss against the error x - t: L2 lets an outlier rule, L1 is blind to size, smooth L1 is both."""
    fig = figure(9, 3.1)
    axes = fig.subplots(1, 3)
    d = np.linspace(-3, 3, 241)
    for ax, (title, f, backward) in zip(
        axes,
        [
            ("L2: gradient grows with the error", loss.l2, loss.l2_backward),
            ("L1: gradient of one size", loss.l1, loss.l1_backward),
            ("smooth L1, beta 1: both", loss.smooth_l1, loss.smooth_l1_backward),
        ],
        strict=True,
    ):
        zero = np.zeros_like(d)
        slope = backward(np.ones_like(d), d, zero, reduction="none")["x"]
        curve_and_gradient(ax, d, f(d, zero, reduction="none"), slope, title=title)
        ax.set(ylim=(-3, 4), xlabel="error x - t")
    legend(fig, ("loss", "dloss/dx"))
    return fig


@pictures.member("losses-classification")
def classification() -> Figure:
    """Loss against the score of the right answer. The gradient is largest where the answer is wrong."""
    fig = figure(9, 5.4)
    axes = fig.subplots(2, 3)
    x, one = np.linspace(-6, 6, 241), np.ones(241)
    slope = loss.logistic_backward(one, x, one, reduction="none")["x"]
    y = loss.logistic(x, one, reduction="none")
    curve_and_gradient(axes[0, 0], x, y, slope, title="logistic, label +1")
    axes[0, 0].set_xlabel("score x")
    _toward_a_share(axes[0, 2], axes[1, 1], x)
    scores = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)
    labels = np.zeros(len(x), dtype=int)
    for ax, smoothing in ((axes[0, 1], 0.0), (axes[1, 0], 0.2)):
        options = {"label_smoothing": smoothing, "reduction": "none"}
        y = loss.cross_entropy(scores, labels, **options)
        slope = loss.cross_entropy_backward(one, scores, labels, **options)["x"][:, 0]
        name = "cross entropy of 3 classes" if not smoothing else "label smoothing 0.2"
        curve_and_gradient(ax, x, y, slope, title=name)
        ax.set_xlabel("score of the right class, others 0")
    d = np.linspace(-3, 3, 241)
    options = {"margin": 1.0, "reduction": "none"}
    slope = loss.margin_ranking_backward(one, d, 0 * d, one, **options)["x"]
    y = loss.margin_ranking(d, 0 * d, one, **options)
    curve_and_gradient(axes[1, 2], d, y, slope, title="margin ranking, margin 1")
    axes[1, 2].set_xlabel("x - other")
    legend(fig, ("loss", "dloss/dx"))
    return fig


def _toward_a_share(binary, kl, x) -> None:
    """Losses whose target is a probability have their minimum where the model says the same."""
    share = np.full_like(x, 0.7)
    one = np.ones_like(x)
    y = loss.binary_logistic(x, share, reduction="none")
    slope = loss.binary_logistic_backward(one, x, share, reduction="none")["x"]
    curve_and_gradient(binary, x, y, slope, title="logistic, label 0.7")
    binary.set_xlabel("score x")
    scores = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)
    target = np.tile([0.6, 0.3, 0.1], (len(x), 1))
    logs, ones = linear.log_softmax(scores), np.ones_like(target)
    y = loss.kl(logs, target, reduction="none").sum(axis=1)
    g = loss.kl_backward(ones, logs, target, reduction="none")["x"]
    slope = linear.log_softmax_backward(g, scores)["x"][:, 0]
    curve_and_gradient(kl, x, y, slope, title="KL from (0.6, 0.3, 0.1)")
    kl.set_xlabel("score of the first class, others 0")


@pictures.member("penalties")
def penalties() -> Figure:
    """Penalties pull weights to 0: L2 in proportion to the weight, L1 by the same force for all."""
    fig = figure(7.4, 3.1)
    axes = fig.subplots(1, 2, sharey=True)
    w = np.linspace(-2, 2, 201)
    for ax, (title, f, backward) in zip(
        axes,
        [
            (
                "L2: large weights shrink most",
                regularization.l2_penalty,
                regularization.l2_penalty_backward,
            ),
            (
                "L1: small weights become 0",
                regularization.l1_penalty,
                regularization.l1_penalty_backward,
            ),
        ],
        strict=True,
    ):
        y = [float(f(one)) for one in w]
        curve_and_gradient(ax, w, y, backward(1.0, w)["x"], title=title)
        ax.set(xlabel="weight w", ylim=(-2.1, 2.1))
    legend(fig, ("penalty", "dpenalty/dw"))
    return fig
