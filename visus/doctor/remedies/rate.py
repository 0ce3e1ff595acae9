"""Remedies for the step: learning rate, warm-up, schedule, clipping, momentum, batch size."""

from __future__ import annotations

from math import log10

from visus.doctor.remedies.treatment import Chart, Treatment, remedy

TOO_LONG = (
    "learning-rate-too-large", "loss-oscillating", "loss-not-finite", "gradient-exploding",
    "relu-dead", "activation-saturated",
)  # fmt: skip


@remedy(
    cures=("learning-rate-too-large", "learning-rate-too-small", "loss-not-finite"), fresh=False
)
def rate_usual(chart: Chart) -> Treatment | None:
    """The usual learning rate of the optimizer."""
    times = chart.times("optimizer.rate")
    if 0.5 < times < 2:
        return None
    far = abs(log10(times))
    weight = 0.0 if far < 0.65 else min(0.95, 0.5 + 0.2 * far)
    why = f"the rate is {float(f'{times:.2g}'):g} times what the optimizer usually takes"
    return Treatment((f"optimizer.rate={chart.usual['optimizer.rate']:.4g}",), why, weight)


@remedy(cures=TOO_LONG, fresh=False)
def rate_down(chart: Chart) -> Treatment | None:
    """A third of the learning rate."""
    rate = chart.get("optimizer.rate")
    return Treatment((f"optimizer.rate={rate / 3:.4g}",), "steps may be too long")


@remedy(cures=("loss-not-finite", "gradient-exploding"), fresh=False)
def rate_far_down(chart: Chart) -> Treatment | None:
    """A tenth of the learning rate."""
    rate = chart.get("optimizer.rate")
    return Treatment((f"optimizer.rate={rate / 10:.4g}",), "steps may be far too long")


@remedy(cures=("learning-rate-too-small",), fresh=False)
def rate_up(chart: Chart) -> Treatment | None:
    """Three times the learning rate."""
    rate = chart.get("optimizer.rate")
    return Treatment((f"optimizer.rate={rate * 3:.4g}",), "steps may be too short")


@remedy(cures=("loss-not-finite", "gradient-exploding"), fresh=False)
def clipping(chart: Chart) -> Treatment | None:
    """Clip the norm of the gradient."""
    if chart.get("training.clip") is not None:
        return None
    return Treatment(("training.clip=1.0",), "single gradients may be far too large")


@remedy(cures=("learning-rate-too-small", "underfitting"), fresh=False)
def no_clipping(chart: Chart) -> Treatment | None:
    """Clip the gradient at a usual norm."""
    clip = chart.get("training.clip")
    if clip is None or clip >= 0.2:
        return None
    return Treatment(("training.clip=5.0",), f"gradients are clipped at a norm of {clip:g}", 0.75)


@remedy(cures=("learning-rate-too-large",))
def warm_up(chart: Chart) -> Treatment | None:
    """Warm up over the first steps."""
    name = chart.get("schedule.name")
    warm = chart.get("schedule.warmup", {"one-cycle": 0.3, "cosine": 0.05}.get(name, 0.0))
    if name not in ("constant", "step", "cosine") or warm >= 0.05:
        return None
    return Treatment(("schedule.warmup=0.1",), "the first steps are taken at full rate")


@remedy(cures=("learning-rate-too-small", "loss-oscillating", "underfitting"), fresh=False)
def usual_schedule(chart: Chart) -> Treatment | None:
    """The one-cycle schedule with its usual options."""
    name = chart.get("schedule.name")
    options = {k: v for k, v in (chart.get("schedule") or {}).items() if k != "name"}
    if name == "one-cycle" and not options:
        return None
    drops = options.get("drops") or [0.5]
    odd = options.get("warmup", 0.0) > 0.6 or (name == "step" and min(drops) < 0.3)
    odd = odd or (name == "step" and options.get("factor", 0.1) < 0.01)
    odd = (
        odd
        or options.get("end", 0.0) > 0.5
        or (name == "one-cycle" and options.get("start", 0.04) > 0.9)
    )
    weight = 0.7 if odd else 0.45 if name == "constant" else 0.2
    said = ", ".join(f"{key} {value}" for key, value in options.items())
    why = f"the schedule is '{name}'" + (f" with {said}" if said else "")
    return Treatment(("schedule=one-cycle",), why, weight)


@remedy(cures=("loss-oscillating", "learning-rate-too-large"), fresh=False)
def usual_momentum(chart: Chart) -> Treatment | None:
    """The usual momentum."""
    value = chart.get("optimizer.momentum")
    if value is None or chart.get("optimizer.name") != "sgd" or 0.8 <= value <= 0.95:
        return None
    weight = 0.7 if value > 0.96 else 0.5
    return Treatment(("optimizer.momentum=0.9",), f"the momentum is {value:g}", weight)


@remedy(cures=("learning-rate-too-large",), fresh=False)
def usual_betas(chart: Chart) -> Treatment | None:
    """Adam's usual memory."""
    if chart.get("optimizer.name") != "adamw":
        return None
    first, second = chart.get("optimizer.beta1", 0.9), chart.get("optimizer.beta2", 0.999)
    eps = chart.get("optimizer.eps", 1e-8)
    if first <= 0.95 and 0.9 <= second <= 0.9999 and eps <= 1e-4:
        return None
    edits = ("optimizer.beta1=0.9", "optimizer.beta2=0.999", "optimizer.eps=1e-8")
    return Treatment(edits, f"beta1 {first:g}, beta2 {second:g}, eps {eps:g}", 0.7)


@remedy(cures=("norm-batch-too-small", "norm-train-test-gap", "not-shuffled", "loss-oscillating"))
def usual_batch(chart: Chart) -> Treatment | None:
    """The usual batch size, with the rate that goes with it."""
    size, usual = chart.get("training.batch_size"), chart.usual.get("training.batch_size")
    if not usual or size == usual:
        return None
    steps = chart.facts.get("steps", 1000)
    odd = size < 8 or (size > 4 * usual and steps < 500) or size > 16 * usual
    edits = [f"training.batch_size={usual}"]
    if chart.usual.get("rate_there"):
        edits.append(f"optimizer.rate={chart.usual['rate_there']:.4g}")
    return Treatment(
        tuple(edits), f"{size} images a step leave {steps} steps", 0.96 if odd else 0.0
    )
