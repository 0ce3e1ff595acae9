"""Remedies for what the signal passes through: input, first weights, activation, norm, capacity."""

from __future__ import annotations

from visus.doctor.remedies.treatment import Chart, Treatment, remedy

LINEAR = ("linear",)


def _own(chart: Chart) -> bool:
    """Whether the network is the recipe's: a module of the caller's cannot be built otherwise."""
    return not chart.facts.get("given_network")


@remedy(cures=("input-not-normalized", "learning-rate-too-small", "underfitting"))
def normalize_input(chart: Chart) -> Treatment | None:
    """Mean 0 and deviation 1 for each input channel."""
    if chart.get("normalization") != "none":
        return None
    return Treatment(("normalization=channel",), "the input is not normalized", 0.65)


@remedy(cures=("init-symmetric", "init-too-small", "init-too-large", "gradient-vanishing",
               "activation-saturated", "relu-dead", "gradient-exploding"))  # fmt: skip
def other_init(chart: Chart) -> Treatment | None:
    """First weights that keep the variance."""
    name = chart.get("init.name", "auto")
    if name == "auto" or not _own(chart):
        return None
    odd = {"zero": 0.9, "normal": 0.75}.get(name, 0.0)
    if name == "orthogonal" and not 0.5 < chart.get("init.gain", 1.414) < 2.5:
        odd = 0.75
    if name == "he" and chart.get("init.slope", 0.0) > 3:
        odd = 0.75
    return Treatment(("init=auto",), f"the weights start by '{name}'", odd)


@remedy(cures=("init-too-small", "init-too-large", "gradient-vanishing"))
def unit_variance_init(chart: Chart) -> Treatment | None:
    """First weights scaled layer by layer to unit variance."""
    if chart.get("init.name") == "data" or chart.get("model.pretrained") or not _own(chart):
        return None
    return Treatment(("init=data",), "the variance changes from layer to layer")


@remedy(cures=("activation-saturated", "gradient-vanishing", "activation-not-zero-centered",
               "relu-dead", "underfitting", "learning-rate-too-small"))  # fmt: skip
def relu(chart: Chart) -> Treatment | None:
    """ReLU as the activation."""
    name = chart.get("model.activation")
    if name in (None, "relu", "gelu", "silu", "leaky-relu", "elu") or not _own(chart):
        return None
    odd = {"sigmoid": 0.8, "none": 0.9, "tanh": 0.5}.get(name, 0.5)
    return Treatment(("model.activation=relu",), f"the activation is '{name}'", odd)


@remedy(cures=("relu-dead",))
def leaky(chart: Chart) -> Treatment | None:
    """Leaky ReLU, which cannot die."""
    if chart.get("model.activation", "relu") != "relu" or chart.get("model.name") in LINEAR:
        return None
    return Treatment(("model.activation=leaky-relu",), "units are dead") if _own(chart) else None


@remedy(cures=("activation-saturated", "gradient-vanishing", "gradient-exploding", "init-too-small",
               "init-too-large", "input-not-normalized", "relu-dead"))  # fmt: skip
def batch_norm(chart: Chart) -> Treatment | None:
    """Batch normalization after each layer."""
    norm = chart.get("model.norm")
    if norm in (None, "batch") or chart.get("model.name") in LINEAR or not _own(chart):
        return None
    small = chart.get("training.batch_size", 32) < 8
    weight = 0.0 if small else 0.6 if norm in ("none", "instance") else 0.0
    said = "no layer is normalized" if norm == "none" else f"layers are normalized by '{norm}'"
    return Treatment(("model.norm=batch",), said, weight)


@remedy(cures=("norm-batch-too-small", "norm-train-test-gap"))
def group_norm(chart: Chart) -> Treatment | None:
    """Group normalization, which does not need a batch."""
    norm, few = chart.get("model.norm", "batch"), chart.get("training.batch_size", 32) < 8
    if norm not in ("batch", "batch-instance", "switch") or not _own(chart):
        return None
    if chart.get("model.name") in LINEAR or not few:
        return None
    return Treatment(("model.norm=group",), "batches are too small for batch statistics", 0.6)


@remedy(cures=("underfitting",))
def more_capacity(chart: Chart) -> Treatment | None:
    """The network that suits images of this size, at its usual width."""
    if not _own(chart) or chart.get("model.pretrained"):
        return None
    usual, name = chart.usual.get("model.name"), chart.get("model.name")
    width, wide = chart.get("model.width"), chart.usual.get("model.width")
    if name != usual and (name == "linear" or (name == "mlp" and chart.get("model.depth", 2) > 4)):
        edits, weight = (f"model={usual}",), 0.6 if name == "linear" else 0.85
    elif width and wide and width < wide:
        edits, weight = (f"model.width={wide}",), 0.7 if width <= wide / 6 else 0.0
    else:
        return None
    return Treatment(
        edits, f"'{name}'{f' of width {width}' if width else ''} may be too small", weight
    )


@remedy(cures=("gradient-vanishing", "relu-dead"))
def less_depth(chart: Chart) -> Treatment | None:
    """The usual depth."""
    depth = chart.get("model.depth")
    if chart.get("model.name") != "mlp" or not depth or depth <= 4 or not _own(chart):
        return None
    return Treatment(("model.depth=2",), f"{depth} hidden layers", 0.6)


@remedy(cures=("overfitting",))
def less_capacity(chart: Chart) -> Treatment | None:
    """Half the width."""
    width, wide = chart.get("model.width"), chart.usual.get("model.width")
    if not width or not wide or width <= wide or not _own(chart):
        return None
    return Treatment(
        (f"model.width={max(wide, width // 2)}",), "fewer weights can learn less by heart"
    )
