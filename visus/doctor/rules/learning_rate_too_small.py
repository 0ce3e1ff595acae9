"""The rule `learning-rate-too-small`."""

from __future__ import annotations

import math
from itertools import pairwise

from visus.doctor.progress import (
    adam_learns,
    begin,
    chance,
    diverged,
    end,
    idle,
    learned,
    long_enough,
    plain,
    plateau,
    rested,
    stands,
    used_rate,
)
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "steps", "trials", "updates"),
      because=("init-symmetric", "init-too-small", "parameter-not-updated", "parameter-without-gradient", "activation-saturated",
               "relu-dead", "input-not-normalized", "loss-mismatch", "label-invalid", "output-range",
               "regularization-too-strong", "gradient-vanishing", "init-too-large", "not-shuffled",
               "norm-batch-too-small", "gradient-not-zeroed"))  # fmt: skip
def learning_rate_too_small(s: Signals) -> Finding | None:
    """Steps are so short that the loss hardly falls, and longer ones would do.

    What: little was learned, and ten times the rate lowers the loss several times as much.
    Why: the gradient is good for a much longer step than the one taken.
    How: where the weights moved by less than a thousandth of their size and the answers are no better
    than a constant one, that says it. Else an experiment on a copy: the first weights trained again over
    the same batches with 10 and more times the rate; the present rate is the control. Where the weights hardly moved:
    whether ten times the rate gains ten times as much over three decades. Where they hardly
    moved: 120 steps of Adam, judged on batches held out. Where a schedule stopped them early (the mean
    rate is below an eighth of the highest): whether the loss stands still since. Whether the rate
    still rises when the training ends.
    Cure: ten times the rate (the evidence names the best), or a range test; a schedule that
    decays later.
    Not: a flat loss that no rate helps has another cause and is named there.
    Source: Smith 2017, Cyclical learning rates (range test); Bengio 2012, Practical recommendations.
    """
    if not plain(s) or not long_enough(s) or diverged(s):
        return None
    rates = s.values("optimizer", "rate")
    if rates and max(rates) == 0:
        return finding("error", 0.98, "optimizer", 0, "The learning rate is zero.",
                       ["set a learning rate above zero"], rate=0.0)  # fmt: skip
    if _warming(s, rates):
        return _still_warming(s, rates)
    if stands(s):
        return _standing(s, median(rates))
    stopped = plateau(s) or _by_heart(s) or adam_learns(s)
    if idle(s) and stopped:
        return _stopped(s, rates)
    start, same = s.last("trial", "start"), s.last("trial", "rate x1")
    higher = {f: s.last("trial", f"rate x{f:g}") for f in (10.0, 100.0, 1e3, 1e4, 1e5)}
    best = min(higher, key=lambda f: higher[f] if math.isfinite(higher[f]) else math.inf)
    gain, gain_higher = start - same, start - higher[best]
    score, rate = learned(s), median(rates)
    if rested(s) and adam_learns(s):
        return _stopped(s, rates)
    steady = _in_proportion(s, start)
    if not math.isfinite(gain_higher) or (score > 0.2 and not steady):
        return None  # what learns at this pace is only slow (weights that stay may know a little)
    hardly = 0.003 if steady else 0.03  # of the loss
    if gain_higher < hardly * abs(start) or gain_higher < 2.5 * max(gain, 0):
        return None
    if s.last("optimizer", "travel", 0.0) > 0.05:
        return None  # the weights went somewhere: what long steps gain on few batches is no proof
    return finding(
        "error" if score < 0.05 else "warning", 0.92, "optimizer", 0,
        f"At a rate of {rate:.3g} the loss went from {begin(s):.4g} to {end(s):.4g}; from the same weights, 24 steps with "
        f"{best:g} times the rate reach {higher[best]:.3g} (this rate: {same:.3g})."
        + (" The schedule had lowered the rate to almost nothing." if rates[-1] < 1e-3 * max(rates) else ""),
        [f"raise the learning rate to about {rate * best:.2g}", "let the schedule decay later"],
        rate=rate, loss_first=begin(s), loss_last=end(s), loss_same_rate=same, loss_higher_rate=higher[best],
        update_over_weight=s.median("optimizer", "update"), travel=s.last("optimizer", "travel"),
    )  # fmt: skip


def _standing(s: Signals, rate: float) -> Finding:
    # A few hundred steps at a good rate move weights by some percent of their size or more.
    travel = s.last("optimizer", "travel")
    factor = 10.0 ** min(max(round(math.log10(0.05 / max(travel, 1e-12))), 1), 6)
    return finding(
        "error", 0.92, "optimizer", 0,
        f"At a rate of {rate:.3g} all {s.steps} steps moved the weights by {travel:.2g} of their size; "
        f"the loss went from {begin(s):.4g} to {end(s):.4g}, where an answer without the input has {chance(s):.4g}.",
        [f"raise the learning rate to about {rate * factor:.2g}"],
        rate=rate, loss_first=begin(s), loss_last=end(s), chance=chance(s),
        update_over_weight=s.median("optimizer", "update"), travel=travel,
    )  # fmt: skip


def _in_proportion(s: Signals, start: float) -> bool:
    # The weights went nowhere, and ten times the rate gains ten times as much, again and again:
    # on the same batches no noise does that. Steps so short are far from where the loss bends.
    gains = [start - s.last("trial", f"rate x{f:g}") for f in (1.0, 10.0, 100.0, 1e3, 1e4)]
    straight = sum(low > 0 and 5 < high / low < 20 for low, high in pairwise(gains))
    return s.last("optimizer", "travel", 1.0) < 0.01 and straight >= 3


def _warming(s: Signals, rates: list[float]) -> bool:
    # The rate rose from the first step to the last, by tiny steps, and the loss falls still: a warm-up
    # longer than the training. Not where it is the watch that ended it.
    steady = len(rates) >= 60 and rates[-1] > 10 * rates[0] > 0 and not s.facts.get("cut")
    rising = steady and all(b >= a for a, b in pairwise(rates))
    slow = s.median("optimizer", "update", 1.0) < 1e-3 and s.last("optimizer", "travel", 1.0) < 0.15
    return rising and slow and learned(s) < 0.85 and not plateau(s)


def _still_warming(s: Signals, rates: list[float]) -> Finding:
    return finding(
        "warning", 0.85, "optimizer", 0,
        f"The rate rose from {rates[0]:.2g} to {rates[-1]:.2g} over all {len(rates)} steps: the warm-up is longer than the training. "
        f"One step moved the weights by {s.median('optimizer', 'update'):.2g} of their size; the loss went from {begin(s):.3g} to {end(s):.3g} and falls still.",
        ["let the warm-up take a tenth of the steps or less", "raise the learning rate"],
        rate_first=rates[0], rate_last=rates[-1], travel=s.last("optimizer", "travel"),
        update_over_weight=s.median("optimizer", "update"), loss_first=begin(s), loss_last=end(s),
    )  # fmt: skip


def _by_heart(s: Signals) -> bool:
    # As it stands at the end the network still learns one batch: the steps were missing.
    return s.last("trial", "batch_last") < 0.6 * s.last("trial", "batch_first")


def _stopped(s: Signals, rates: list[float]) -> Finding:
    early, used = idle(s), used_rate(s)
    travel, held = s.last("optimizer", "travel"), s.last("trial", "held_error")
    why = (f"The schedule took the rate from {max(rates):.3g} to {rates[-1]:.3g}: all {len(rates)} steps together go as far as {used * len(rates):.0f} at "
           "the highest" if early else f"At a rate of {median(rates):.3g} the weights moved by {travel:.1%} in {s.steps} steps")  # fmt: skip
    proof = f"the loss has stood at {end(s):.3g} since"
    if adam_learns(s):
        proof = (f"120 steps of Adam at 0.002 from the same first weights reach an error of {held:.3g} on batches held out "
                 f"(the program {s.last('final', 'train_error'):.3g} on its own)")  # fmt: skip
    elif _by_heart(s):
        first, last = s.last("trial", "batch_first"), s.last("trial", "batch_last")
        proof = f"the network as it is now still learns one batch by heart (loss {first:.2g} to {last:.2g})"
    return finding(
        "error" if learned(s) < 0.05 else "warning", 0.88, "optimizer", 0,
        f"{why}; {proof}.",
        ["step the scheduler once an epoch, or let it decay later"] if early else ["raise the learning rate a hundredfold"],
        rate=median(rates), rate_first=rates[0], rate_last=rates[-1], used=used, travel=travel,
        held_error=held, own_error=s.last("final", "train_error"),
    )  # fmt: skip
