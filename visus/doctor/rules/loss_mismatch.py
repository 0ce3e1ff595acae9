"""The rule `loss-mismatch`."""

from __future__ import annotations

from collections.abc import Callable

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "labels", "layers", "pairs"))
def loss_mismatch(s: Signals) -> Finding | None:
    """The loss expects another kind of number than it gets.

    What: softmax (or sigmoid) before cross entropy, sigmoid before the loss with logits, raw
    outputs or probabilities into NLL or kl_div, softmax over the batch, squared error on class numbers,
    (N, 1) against (N,), which compares all pairs, or a loss with the wrong sign, labels of 0 and 1 where
    -1 and 1 are asked for, or a loss of pairs that drives apart what is alike.
    Why: the loss can be computed, so nothing complains; but its gradient is wrong or weak, and
    its lowest value is not where the answers are right.
    How: values and shapes of the loss's arguments, and the activation that made them; of pairs, the
    distances before and behind the network.
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


class Seen:
    """What a loss was given: its kind, the values of outputs and targets, the last activation."""

    def __init__(self, s: Signals):
        self.kind, self.act = s.facts.get("kind", ""), s.facts.get("last_activation", "")
        self.facts, self.width = s.facts, s.last("prediction", "width", 0)
        self.low = min(s.values("prediction", "min"), default=-1.0)
        self.high = max(s.values("prediction", "max"), default=2.0)
        self.rows = max(s.values("prediction", "row_sum_off"), default=1.0)
        self.columns = max(s.values("prediction", "column_sum_off"), default=1.0)
        self.log_sum = min(s.values("prediction", "log_sum"), default=0.0)
        self.pairs = max(s.values("target", "pairs"), default=1.0)
        self.data, self.total = s.median("loss", "data"), s.median("loss", "total")
        self.numbers = _class_numbers(s)
        self.turned = s.values("loss", "turned")
        self.given, self.learned = s.last("pairs", "given", 0.0), s.last("pairs", "learned", 0.0)
        self.least = min(s.values("labels", "min"), default=-1.0)

    @property
    def unit(self) -> bool:
        """Outputs within [0, 1]."""
        return self.low >= 0 and self.high <= 1

    @property
    def probabilities(self) -> bool:
        """Rows that sum to 1."""
        return self.unit and self.rows < 1e-3

    @property
    def by_hand(self) -> bool:
        """A loss written out by the program: its parts may mean anything."""
        return bool(self.facts.get("by_hand"))


SIGNED = (
    "soft_margin_loss",
    "hinge_embedding_loss",
    "cosine_embedding_loss",
    "margin_ranking_loss",
)
Case = tuple[Callable[[Seen], bool], str, str, float]

# The first case that fits is named: what was seen, the sentence, the cure, the confidence.
CASES: list[Case] = [
    (
        lambda x: x.facts.get("not_probabilities", 0.0) > 0,
        "binary_cross_entropy takes probabilities; here it gets raw outputs.",
        "use binary_cross_entropy_with_logits",
        0.97,
    ),
    (
        lambda x: x.pairs > 1.5,
        "Output and target have shapes that are broadcast against each other: every output is "
        "compared with every target.",
        "give both the same shape: output.squeeze(1), or target.unsqueeze(1)",
        0.97,
    ),
    (
        lambda x: (
            (x.data > 0 and x.total < -0.5 * x.data and not x.by_hand)
            or (bool(x.turned) and all(abs(v + 1) < 1e-3 for v in x.turned))
        ),
        "The loss is turned round: backward climbs it.",
        "change the sign of the loss",
        0.95,
    ),
    (
        lambda x: x.width > 1 and x.columns < 1e-3 and x.unit and x.rows > 1e-2,
        "The softmax runs over the batch, not over the classes: columns sum to 1.",
        "use softmax(dim=1) over classes",
        0.95,
    ),
    (
        lambda x: x.kind == "cross_entropy" and x.width == 1,
        "Cross entropy over one output is always zero.",
        "use binary_cross_entropy_with_logits, or two outputs",
        0.97,
    ),
    (
        lambda x: x.kind == "cross_entropy" and x.probabilities,
        "Cross entropy takes raw outputs and applies softmax itself; here they are probabilities "
        "already.",
        "remove the softmax before cross_entropy",
        0.96,
    ),
    (
        lambda x: x.kind == "cross_entropy" and x.unit and x.act in ("sigmoid", "hardsigmoid"),
        "The outputs pass through a sigmoid before cross entropy, which expects raw outputs.",
        "remove the sigmoid",
        0.95,
    ),
    (
        lambda x: x.kind == "nll_loss" and not x.by_hand and x.log_sum > 1e-2,
        "nll_loss takes log probabilities; here it gets {what}.",
        "use cross_entropy on raw outputs, or log_softmax first",
        0.96,
    ),
    (
        lambda x: x.kind == "kl_div" and not x.by_hand and x.log_sum > 1e-2 and x.width > 1,
        "kl_div takes log probabilities first; here it gets {what}.",
        "give it log_softmax(output)",
        0.95,
    ),
    (
        lambda x: (
            x.kind == "binary_cross_entropy_with_logits"
            and x.unit
            and x.act in ("sigmoid", "softmax", "hardsigmoid")
        ),
        "The loss with logits applies the sigmoid itself; here the outputs went through {act} before.",
        "remove the activation, or use binary_cross_entropy",
        0.95,
    ),
    (
        lambda x: x.kind in SIGNED and x.least == 0,
        "This loss takes labels of -1 and 1; here they are 0 and 1, and those of 0 pull nowhere.",
        "give it 2 * label - 1, or use a loss for labels of 0 and 1",
        0.95,
    ),
    (
        lambda x: abs(x.given) > 0.5 and x.learned / x.given < 0.25,
        "The loss drives apart what is alike: pairs whose samples are nearer to each other in the data are "
        "farther from each other behind the network.",
        "exchange the two kinds of pairs in the loss (the label, or positive and negative)",
        0.92,
    ),
    (
        lambda x: x.facts.get("task") == "regression" and x.width <= 1 and x.numbers,
        "The targets look like class numbers: squared error treats class 9 as nine times class 1.",
        "give the network one output for each class and use cross_entropy",
        0.8,
    ),
]


def _case(s: Signals) -> tuple[str, str, float]:
    """(what is wrong, the cure, how sure), or an empty sentence."""
    seen = Seen(s)
    what = "probabilities" if seen.probabilities else "raw outputs"
    for fits, text, cure, sure in CASES:
        if fits(seen):
            return text.format(what=what, act=seen.act), cure, sure
    return "", "", 0.0


def _class_numbers(s: Signals) -> bool:
    whole, distinct = s.values("target", "whole"), max(s.values("target", "distinct"), default=0)
    low, high = (
        min(s.values("target", "min"), default=-1.0),
        max(s.values("target", "max"), default=99.0),
    )
    full = distinct >= 0.8 * (high - low + 1)
    return bool(whole) and median(whole) == 1 and 3 <= distinct <= 40 and low in (0, 1) and full
