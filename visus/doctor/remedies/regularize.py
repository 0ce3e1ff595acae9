"""Remedies for too much and too little regularization."""

from __future__ import annotations

from visus.doctor.remedies.treatment import Chart, Treatment, remedy

WEAK = ("underfitting", "regularization-too-strong")


@remedy(cures=WEAK, fresh=False)
def less_decay(chart: Chart) -> Treatment | None:
    """The usual weight decay."""
    l2, l1, usual = chart.get("regularization.l2", 0.0), chart.get("regularization.l1", 0.0), chart.usual.get("regularization.l2", 5e-4)  # fmt: skip
    if l2 <= 2 * usual and l1 <= 1e-5:
        return None
    edits = (f"regularization.l2={min(l2, usual):g}", "regularization.l1=0.0")
    odd = l2 > 8 * usual or l1 > 3e-4
    return Treatment(edits, f"L2 of {l2:g}, L1 of {l1:g}", 0.75 if odd else 0.0)


@remedy(cures=("overfitting",), fresh=False)
def more_decay(chart: Chart) -> Treatment | None:
    """Five times the weight decay, at least the usual one."""
    l2, usual = chart.get("regularization.l2", 0.0), chart.usual.get("regularization.l2", 5e-4)
    if l2 >= 5 * usual:
        return None
    return Treatment((f"regularization.l2={max(5 * l2, usual):g}",), "large weights learn by heart")


@remedy(cures=WEAK, fresh=False)
def less_dropout(chart: Chart) -> Treatment | None:
    """No dropout."""
    share = chart.get("model.dropout", 0.0)
    if not share or chart.facts.get("given_network"):
        return None
    return Treatment(("model.dropout=0.0",), f"{share:.0%} of the units are dropped", 0.7 if share > 0.55 else 0.0)  # fmt: skip


@remedy(cures=("overfitting",), fresh=False)
def dropout(chart: Chart) -> Treatment | None:
    """Dropout of a third of the units."""
    if chart.get("model.dropout", 0.0) >= 0.2 or chart.facts.get("given_network"):
        return None
    return Treatment(("model.dropout=0.3",), "units that lean on each other learn by heart")


@remedy(cures=WEAK, fresh=False)
def less_jitter(chart: Chart) -> Treatment | None:
    """The usual jitter for such images."""
    own, usual = chart.get("jitter", "none"), chart.usual.get("jitter")
    if own == usual or own in ("none", {}):
        return None
    value = "none" if not usual else "auto"
    return Treatment(
        (f"jitter={value}",), "the jitter differs from what such images usually bear", _hard(own)
    )


@remedy(cures=WEAK, fresh=False)
def no_jitter(chart: Chart) -> Treatment | None:
    """No jitter."""
    own = chart.get("jitter", "none")
    if own in ("none", {}):
        return None
    return Treatment(
        ("jitter=none",), "the jitter may change what the image shows", _hard(own) - 0.05
    )


def _hard(jitter: object) -> float:
    """How suspicious a jitter is: turned upside down, cut to pieces, washed out, mixed away."""
    if not isinstance(jitter, dict):
        return 0.0
    limits = {
        ("affine", "degrees"): 45, ("affine", "scale"): 0.5, ("affine", "shear"): 30, ("affine", "shift"): 0.3,
        ("cutout", "size"): 0.55, ("mixup", "alpha"): 1.5, ("color", "brightness"): 0.8,
        ("color", "contrast"): 0.8,
    }  # fmt: skip
    over = any(
        jitter.get(a, {}).get(b, 0) > limit for (a, b), limit in limits.items() if a in jitter
    )
    over = over or bool(jitter.get("flip", {}).get("vertical"))
    return 0.65 if over else 0.3


@remedy(cures=("overfitting",), fresh=False)
def jitter(chart: Chart) -> Treatment | None:
    """The usual jitter for such images."""
    if chart.get("jitter", "none") not in ("none", {}) or not chart.usual.get("jitter"):
        return None
    return Treatment(("jitter=auto",), "the same images are seen again and again")


@remedy(cures=WEAK, fresh=False)
def less_smoothing(chart: Chart) -> Treatment | None:
    """No label smoothing."""
    share = chart.get("loss.label_smoothing", 0.0)
    if not share:
        return None
    return Treatment(("loss.label_smoothing=0.0",), f"labels are smoothed by {share:g}", 0.65 if share > 0.4 else 0.0)  # fmt: skip


@remedy(cures=("overfitting", "label-noise"), fresh=False)
def label_smoothing(chart: Chart) -> Treatment | None:
    """Label smoothing of 0.1."""
    if chart.get("loss.name") != "cross-entropy" or chart.get("loss.label_smoothing", 0.0) > 0:
        return None
    return Treatment(("loss.label_smoothing=0.1",), "the answers are too sure")


@remedy(cures=WEAK)
def shorter_average(chart: Chart) -> Treatment | None:
    """No moving average of the weights."""
    decay, steps = chart.get("training.ema", 0.0), chart.facts.get("steps", 1000)
    if not decay:
        return None
    odd = 1 / (1 - decay) > steps / 4
    said = f"the average looks back {1 / (1 - decay):.0f} steps of {steps}"
    return Treatment(("training.ema=0.0",), said, 0.75 if odd else 0.0)
