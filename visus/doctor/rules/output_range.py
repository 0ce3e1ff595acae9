"""The rule `output-range`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("loss", "layers"), because=("loss-mismatch", "label-invalid"))
def output_range(s: Signals) -> Finding | None:
    """The last activation cannot produce what the target asks for.

    What: a ReLU before negative targets, a tanh or sigmoid before targets beyond its range, a
    softmax over one output, a ReLU or tanh on the logits of a classifier.
    Why: part of the target is out of reach whatever the weights are; a ReLU on the output also
    passes no gradient where it is off.
    How: the activation that made the loss's input, its range (through multiplication and addition of
    constants), and the share of the targets' variance that lies beyond it.
    Cure: no activation before the loss (logits, or a linear output for regression).
    Not: a bounded output over targets scaled into its range is right, and single targets beyond it
    are no harm.
    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 4.3.6 (canonical links).
    """
    act, kind = s.facts.get("last_activation", ""), s.facts.get("kind", "")
    low, high = s.last("prediction", "reach_low"), s.last("prediction", "reach_high")
    place = s.layers[-1]["place"] if s.layers else "output"
    goal_low, goal_high = (
        min(s.values("target", "min"), default=0.0),
        max(s.values("target", "max"), default=0.0),
    )
    text, severity = "", "error"
    if act == "softmax" and s.last("prediction", "width") == 1:
        text = "A softmax over a single output is always 1, whatever the input."
    elif s.facts.get("task") == "regression":
        if s.median("target", "beyond", 0.0) > 0.02:
            text = (f"The output can only lie between {low:g} and {high:g} ({act or 'the last activation'}), but targets run "
                    f"from {goal_low:.3g} to {goal_high:.3g}.")  # fmt: skip
    elif kind in ("cross_entropy", "binary_cross_entropy_with_logits") and act in (
        "relu",
        "relu6",
        "tanh",
        "hardtanh",
        "softplus",
    ):
        text, severity = (
            f"The logits pass through {act} before the loss: it keeps them from the values that classes need.",
            "warning",
        )
    if not text:
        return None
    return finding(
        severity, 0.92, f"{act} after {place}", 0, text, ["remove the activation after the last layer",
        "or scale the targets into its range"], target_min=goal_low, target_max=goal_high,
        output_min=min(s.values("prediction", "min")), output_max=max(s.values("prediction", "max")),
    )  # fmt: skip
