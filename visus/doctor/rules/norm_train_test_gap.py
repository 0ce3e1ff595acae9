"""The rule `norm-train-test-gap`."""

from __future__ import annotations

from visus.doctor.progress import chance, half, long_enough, plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("norms", "loss", "trials"),
      because=("norm-batch-too-small", "learning-rate-too-large", "not-shuffled", "init-too-large",
               "input-not-normalized", "loss-not-finite", "regularization-too-strong"))  # fmt: skip
def norm_train_test_gap(s: Signals) -> Finding | None:
    """Batch normalization makes the network answer otherwise in eval mode than in training.

    What: on the same training batches the loss with running statistics is far above the loss
    with the statistics of the batch, dropout off in both; or the momentum is so small that
    after 100 steps the running statistics are still their first values, and wrong by a factor.
    Why: validation and use rely on running statistics that do not describe the data: a momentum
    near zero never learns them, weights that move fast leave them behind.
    How: an experiment at the end: the last recorded batches played on a copy in both modes.
    Cure: momentum 0.1 (0.01 to 0.3), a lower final rate, or recompute the statistics over the
    training set before evaluation; GroupNorm has no such gap.
    Not: within the first 50 steps the statistics have had no time to settle.
    Source: Ioffe, Szegedy 2015, section 3.1; Wu, Johnson 2021, Rethinking "batch" in BatchNorm.
    """
    if not s.facts.get("norms") or not long_enough(s, 50) or not plain(s):
        return None
    with_batch, with_running = s.median("switch", "batch"), s.median("switch", "eval")
    trained = [p for p in s.places("norm_training") if s.median(p, "norm_training") > 0.5]
    if not trained:
        return None
    worst = max(trained, key=lambda p: s.last(p, "norm_ratio", 0))
    stale = median(half(s.values(worst, "norm_ratio")), 0.0) > 0.9  # variances off by 2.5 times
    momentum = s.facts["norms"].get(worst, {}).get("momentum")
    first = _unlearned(momentum, s.steps)
    factor, part = (1.15, 0.05) if stale or first else (1.6, 0.25)  # less is asked of a known cause
    # A loss may be below zero (learned variances): what counts is the gap.
    far = with_running - with_batch > (factor - 1) * abs(with_batch) + part * abs(chance(s))
    if not far and not (stale and first):
        return None
    return finding(
        "error" if with_running > chance(s) else "warning", 0.9, worst, s.steps,
        f"The same batches have a loss of {with_batch:.3g} with their own statistics and {with_running:.3g} with the "
        f"running statistics used in eval mode (momentum {momentum})"
        + ("." if far else f": after {s.steps} steps these are still mostly their first values, and wrong."),
        ["set the momentum of BatchNorm to 0.1", "recompute the running statistics before evaluation, or use GroupNorm"],
        loss_batch=with_batch, loss_running=with_running,
        momentum=momentum if isinstance(momentum, float) else -1.0, log_variance_ratio=s.last(worst, "norm_ratio"),
    )  # fmt: skip


def _unlearned(momentum: object, steps: int) -> bool:
    """True when after this many steps the statistics are still mostly their first values."""
    return isinstance(momentum, float) and steps >= 100 and 1 - (1 - momentum) ** steps < 0.5
