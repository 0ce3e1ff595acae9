"""The rule `loss-mismatch`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "labels", "layers"))
def loss_mismatch(s: Signals) -> Finding | None:
    """The loss expects another kind of number than it gets.

    What: softmax (or sigmoid) before cross entropy, sigmoid before the loss with logits, raw
    outputs or probabilities into NLL, softmax over the batch, squared error on class numbers,
    (N, 1) against (N,), which compares all pairs, or a loss with the wrong sign.
    Why: the loss can be computed, so nothing complains; but its gradient is wrong or weak, and
    its lowest value is not where the answers are right.
    How: values and shapes of the loss's arguments, and the activation that made them.
    Cure: cross entropy and the "with logits" losses take raw outputs; NLL takes log_softmax.
    Not: log_softmax before cross entropy changes nothing; squared error on one-hot or 0/1 targets
    has its uses.
    Source: Goodfellow et al. 2016, section 6.2.2; documentation of torch.nn.functional losses.
    """
    text, cure, sure = _case(s)
    if not text:
        return None
    place = s.layers[-1]["place"] if s.layers else "output"
    return finding(
        "error" if sure > 0.9 else "warning", sure, f"{s.facts.get('kind')} after {place}", 0, text, [cure],
        input_min=min(s.values("prediction", "min"), default=0.0),
        input_max=max(s.values("prediction", "max"), default=0.0), width=s.last("prediction", "width", 0),
    )  # fmt: skip


def _case(s: Signals) -> tuple[str, str, float]:
    kind, act = s.facts.get("kind", ""), s.facts.get("last_activation", "")
    low = min(s.values("prediction", "min"), default=-1.0)
    high = max(s.values("prediction", "max"), default=2.0)
    width = s.last("prediction", "width", 0)
    rows = max(s.values("prediction", "row_sum_off"), default=1.0)
    columns = max(s.values("prediction", "column_sum_off"), default=1.0)
    unit = low >= 0 and high <= 1
    data, total = s.median("loss", "data"), s.median("loss", "total")
    if s.facts.get("not_probabilities", 0.0) > 0:
        return ("binary_cross_entropy takes probabilities; here it gets raw outputs.",
                "use binary_cross_entropy_with_logits", 0.97)  # fmt: skip
    if max(s.values("target", "pairs"), default=1.0) > 1.5:
        return ("Output and target have shapes that are broadcast against each other: every output is compared with every target.",
                "give both the same shape: output.squeeze(1), or target.unsqueeze(1)", 0.97)  # fmt: skip
    if data > 0 and total < -0.5 * data and not s.facts.get("by_hand"):
        return (
            "The loss is turned round: backward climbs it.",
            "remove the minus sign before the loss",
            0.95,
        )
    if width > 1 and columns < 1e-3 and unit and rows > 1e-2:
        return (
            "The softmax runs over the batch, not over the classes: columns sum to 1.",
            "use softmax(dim=1) over classes",
            0.95,
        )
    if kind == "cross_entropy":
        if width == 1:
            return (
                "Cross entropy over one output is always zero.",
                "use binary_cross_entropy_with_logits, or two outputs",
                0.97,
            )
        if unit and rows < 1e-3:
            return ("Cross entropy takes raw outputs and applies softmax itself; here they are probabilities already.",
                    "remove the softmax before cross_entropy", 0.96)  # fmt: skip
        if unit and act in ("sigmoid", "hardsigmoid"):
            return (
                "The outputs pass through a sigmoid before cross entropy, which expects raw outputs.",
                "remove the sigmoid",
                0.95,
            )
    if (
        kind == "nll_loss"
        and not s.facts.get("by_hand")
        and min(s.values("prediction", "log_sum"), default=0.0) > 1e-2
    ):
        what = "probabilities" if unit and rows < 1e-3 else "raw outputs"
        return (
            f"nll_loss takes log probabilities; here it gets {what}.",
            "use cross_entropy on raw outputs, or log_softmax first",
            0.96,
        )
    if (
        kind == "binary_cross_entropy_with_logits"
        and unit
        and act in ("sigmoid", "softmax", "hardsigmoid")
    ):
        return (f"The loss with logits applies the sigmoid itself; here the outputs went through {act} before.",
                "remove the activation, or use binary_cross_entropy", 0.95)  # fmt: skip
    if s.facts.get("task") == "regression" and width <= 1 and _class_numbers(s):
        return ("The targets look like class numbers: squared error treats class 9 as nine times class 1.",
                "give the network one output for each class and use cross_entropy", 0.8)  # fmt: skip
    return "", "", 0.0


def _class_numbers(s: Signals) -> bool:
    whole, distinct = s.values("target", "whole"), max(s.values("target", "distinct"), default=0)
    low, high = (
        min(s.values("target", "min"), default=-1.0),
        max(s.values("target", "max"), default=99.0),
    )
    full = distinct >= 0.8 * (high - low + 1)
    return bool(whole) and median(whole) == 1 and 3 <= distinct <= 40 and low in (0, 1) and full
