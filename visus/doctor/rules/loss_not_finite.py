"""The rule `loss-not-finite`."""

from __future__ import annotations

import math

from visus.doctor.progress import backward_broke, begin, losses
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("loss", "layers"),
      because=("label-invalid", "input-not-normalized", "learning-rate-too-large", "gradient-exploding", "init-too-large",
               "loss-mismatch", "gradient-not-zeroed"))  # fmt: skip
def loss_not_finite(s: Signals) -> Finding | None:
    """The loss became infinite or not a number.

    What: backward was called on a loss that is not finite.
    Why: every weight that this gradient reaches is lost from then on.
    How: the loss at each backward; on recorded passes the first operation whose inputs are
    finite and whose result is not; whether weights were broken before.
    Cure: log(x + eps) or log_softmax in place of log(softmax), eps under roots and quotients, a
    smaller learning rate, clipping; in half precision a gradient scaler.
    Not: a scaler of mixed precision skips such steps by itself.
    Source: Goodfellow et al. 2016, section 4.1 (overflow and underflow).
    """
    values = losses(s)
    broken = s.facts.get("broken")
    first = next((i for i, v in enumerate(values) if not math.isfinite(v)), None)
    if broken is None and first is None:
        return None
    broken = broken or {"step": first, "weights": 0, "op": "", "input": False}
    op, step, share = broken["op"], broken["step"], max(s.values("input", "nonfinite"), default=0.0)
    if share > 0 and not op:
        start = f"the input holds values that are not finite ({share:.2%})"
    elif backward_broke(s):
        start = "backward had made gradients that are not finite of a finite loss (a root, norm or quotient at zero)"
    elif broken["weights"]:
        start = "the weights were broken by the step before"
    else:
        start = (
            f"the first operation whose result is not finite is {op}"
            if op
            else "the weights were sound"
        )
    return finding(
        "error", 0.95, op or ("input" if share > 0 else "loss"), step, f"The loss is not a finite number from step {step} on; {start}.",
        ["use log_softmax or a loss with logits in place of log of a probability; add eps under roots and quotients",
         "lower the learning rate or clip the gradient"],
        first_loss=begin(s), last_finite_loss=values[first - 1] if first else math.nan, broken_weights=broken["weights"],
    )  # fmt: skip
