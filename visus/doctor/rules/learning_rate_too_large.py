"""The rule `learning-rate-too-large`."""

from __future__ import annotations

import math

from visus.doctor.progress import (
    adam_learns,
    backward_broke,
    begin,
    born_sick,
    broken,
    chance,
    diverged,
    driven,
    end,
    half,
    hidden,
    learned,
    long_enough,
    losses,
    moves,
    plain,
)
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.rules.underfitting import straight
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "steps", "trials", "updates"),
      because=("input-not-normalized", "init-too-large", "gradient-exploding", "gradient-not-zeroed", "label-invalid",
               "loss-mismatch", "init-symmetric", "output-range", "not-shuffled", "norm-batch-too-small", "regularization-too-strong"),
      unless=("learning-rate-too-small",))  # fmt: skip
def learning_rate_too_large(s: Signals) -> Finding | None:
    """Steps are too long: they raise the loss they are meant to lower.

    What: the loss grew far beyond its start, or a tenth of the rate reaches a much lower loss
    from the same first weights over the same batches, or one of the first steps threw the loss
    of its own batch to twice chance level and the network never recovered, or a layer that
    answered at the first step is (all but) silent at the end, or the weights
    were flung farther than their first size, where the output no longer depends on the input.
    Why: a step longer than 2 / beta (beta: curvature along the gradient) leaves the region in
    which the gradient describes the loss.
    How: experiments on a copy: the loss of a batch before and after its own update; the first
    weights trained again with 0.01, 0.1, 1, 10 and 100 times the rate.
    Cure: a tenth of the rate, warm-up, clipping; the rate with the lowest loss in the evidence.
    Not: a loss that grows because inputs, targets or first weights are too large is named there.
    Source: LeCun, Simard, Pearlmutter 1993; Santurkar et al. 2018, section 3.
    """
    if not plain(s):
        return None
    tests = list(zip(s.values("step", "before"), s.values("step", "after"), strict=False))
    uphill = sum(not b <= a * 1.02 for a, b in tests) / max(len(tests), 1)
    better, best, lower, same = _lower(s, uphill)
    poor = long_enough(s, 20) and learned(s) < 0.6
    limited = straight(s) and s.last("trial", "rival_error") < 0.5 * s.last("trial", "own_error")
    thrown = poor and not limited and any(not b <= 2 * max(a, chance(s)) for a, b in tests[:5])
    # A first step to ten times chance level leaves its traces in what is learned afterwards.
    thrown = thrown or (
        long_enough(s, 20)
        and learned(s) < 0.9
        and any(b > 10 * max(a, chance(s)) for a, b in tests[:5])
    )
    thrown = thrown or _wild(s) or (poor and _leaps(s))
    grew = diverged(s) or (broken(s) and any(b > 4 * max(a, chance(s)) for a, b in tests))
    if broken(s) and not grew and _calm(s):
        return None  # it fell, then one operation failed
    momentum = next((o["momentum"] for o in s.facts.get("optimizers", [])), 0.0)
    if backward_broke(s) or (born_sick(s) and not broken(s)):
        return None  # a cause does not come after its effect
    silenced = _hushed(s) if poor and not broken(s) and not _tiny(s) else ""
    if silenced and not (grew or better or thrown):
        return _killed(s, silenced)
    if poor and learned(s) < 0.15 and not (grew or better or thrown) and _flung(s):
        return _lost(s)
    if not grew and momentum > 0.95 and uphill < 0.2:
        return None  # each step alone is short enough: what swings is the momentum
    if not thrown and not (grew and not s.values("trial", "start")) and not (grew and (better or uphill > 0.3)) and not (
        better and poor) and not (uphill > 0.6 and len(tests) >= 5 and poor and _worse(s)):  # fmt: skip
        return None
    rate = median(s.values("optimizer", "rate"))
    tested = (
        f"{uphill:.0%} of the tested steps raised the loss of their own batch; " if tests else ""
    )
    return finding(
        "error" if grew or learned(s) < 0.15 else "warning", 0.95 if better else 0.8, "optimizer", 0,
        f"At a rate of {rate:.3g} {tested}the loss went from {begin(s):.3g} to {end(s):.3g}"
        + (f", while {best:g} times the rate reaches {lower[best]:.3g} (this rate: {same:.3g}) in 24 steps." if better else "."),
        [f"lower the learning rate to about {rate * (best if better else 0.1):.2g}", "warm up over the first steps, clip the gradient norm"],
        rate=rate, steps_uphill=uphill, loss_first=begin(s), loss_last=end(s), loss_lower_rate=lower[best],
        loss_same_rate=same, update_over_weight=s.median("optimizer", "update"),
    )  # fmt: skip


def _lower(s: Signals, uphill: float) -> tuple[bool, float, dict[float, float], float]:
    """Whether a lower rate does better from the first weights; which, the losses, this rate's."""
    start, same = s.last("trial", "start"), s.last("trial", "rate x1")
    lower = {f: s.last("trial", f"rate x{f:g}") for f in (0.1, 0.01)}
    best = min(lower, key=lambda f: lower[f] if math.isfinite(lower[f]) else math.inf)
    gain, gain_lower = start - same, start - lower[best]
    better = (
        math.isfinite(gain_lower) and gain_lower > 0.1 * abs(start) and not gain > 0.5 * gain_lower
    )
    # The weights were driven up: worse than at first after 24 steps is no chance.
    # What learns wrong labels by heart gets worse as well: a lower rate must gain something.
    gains = gain_lower > 0.02 * abs(start)
    better = better or (gains and same > (1.1 if driven(s) else 1.2) * start)
    better = better or (driven(s) and adam_learns(s))
    # One learns, the other not.
    better = better or (gains and same > chance(s) > 1.25 * lower[best] > 0)
    if s.median("batch", "size", 64) < 16 and learned(s) > 0.2 and uphill < 0.3:
        better = False  # few samples, learned by heart, prove nothing against steps downhill
    return better, best, lower, same


def _calm(s: Signals) -> bool:
    """True when the loss had fallen to half of its beginning before it broke."""
    whole = [v for v in losses(s) if math.isfinite(v)]
    return len(whole) > 4 and median(whole[-5:]) < 0.5 * median(whole[:3])


def _wild(s: Signals) -> bool:
    # Late in the training batches still meet losses that an answer at random would not have. (A sum in
    # place of a mean begins beyond chance level; what is added to the loss is on no scale.)
    late, base = half(losses(s)), chance(s)
    known = (
        s.facts.get("task") in ("classification", "binary")
        and losses(s)[0] < 3 * base
        and not moves(s)
    )
    return known and len(late) >= 20 and sum(v > 4 * base for v in late) > 0.05 * len(late)


def _leaps(s: Signals) -> bool:
    # The first three steps together moved the weights by half of their size, the loss rose, and the
    # weights were driven up.
    far, first = sum(s.values("optimizer", "update")[:3]), losses(s)[:5]
    return driven(s) and far > 0.5 and max(first) > first[0] + 0.2 * chance(s)


def _worse(s: Signals) -> bool:
    return not end(s) < begin(s)


def _hushed(s: Signals) -> str:
    return (_silenced(s) if learned(s) < 0.15 else "") or _thinned(s)


def _silenced(s: Signals) -> str:
    """The first layer that answered at the beginning and is all but silent at the end."""
    weights, gradient = s.values("optimizer", "weights"), s.values("optimizer", "gradient")
    if not weights or weights[-1] < 0.5 * weights[0]:
        return ""  # a penalty took the weights away
    if median(gradient[-3:]) > 0.05 * gradient[0]:
        return ""  # the others carry on
    for layer in s.layers:
        course = s.values(layer["place"], "zero")
        if len(course) > 4 and median(course[:3]) < 0.7 and min(course[-3:]) > 0.9:
            return layer["place"]
    return ""


def _thinned(s: Signals) -> str:
    """A layer that fell all but silent while long steps made the weights grow."""
    weights, steps = s.values("optimizer", "weights"), s.values("optimizer", "update")
    if not weights or weights[-1] < 1.2 * weights[0] or max(steps, default=0.0) < 0.03:
        return ""
    for layer in hidden(s):
        course = s.values(layer["place"], "zero")
        if len(course) > 4 and median(course[:3]) < 0.7 and min(course[-3:]) > 0.95:
            return layer["place"]
    return ""


def _flung(s: Signals) -> bool:
    # The weights moved farther than their own first length (of ordinary size) and grew, to where
    # the output ignores the input, though a plain network learns the same batches.
    weights = s.values("optimizer", "weights")
    blind, sighted = s.last("trial", "blind"), s.last("trial", "sighted")
    far = len(weights) > 2 and weights[-1] > weights[0] and s.last("optimizer", "travel") > 1
    known = s.last("trial", "rival_error") < 0.5 * s.last("trial", "own_error")
    return far and not _tiny(s) and known and abs(blind - sighted) < 1e-4 * abs(sighted)


def _tiny(s: Signals) -> bool:
    # First weights so small that an ordinary step of Adam is far for them.
    return any(s.first(layer["place"], "scale", 1.0) < 0.15 for layer in s.layers)


def _lost(s: Signals) -> Finding:
    rate, weights = median(s.values("optimizer", "rate")), s.values("optimizer", "weights")
    return finding(
        "error", 0.85, "optimizer", 0,
        f"At a rate of {rate:.3g} the steps flung the weights {s.last('optimizer', 'travel'):.1f} times their first size away; there the "
        f"output no longer depends on the input, and the loss stays at {end(s):.3g} (chance level {chance(s):.3g}).",
        [f"lower the learning rate to about {rate * 0.1:.2g}", "warm up over the first steps, clip the gradient norm"],
        rate=rate, weights_first=weights[0], weights_last=weights[-1], travel=s.last("optimizer", "travel"), loss_last=end(s),
    )  # fmt: skip


def _killed(s: Signals, place: str) -> Finding:
    rate, zero = median(s.values("optimizer", "rate")), s.values(place, "zero")
    first = next(step for step, v in s.series(place, "zero") if v > 0.9)
    grave = learned(s) < 0.15
    return finding(
        "error" if grave else "warning", 0.8 if grave else 0.75, "optimizer", first,
        f"At a rate of {rate:.3g} the steps silenced {place}: {zero[0]:.0%} of its responses were zero at the first step, {zero[-1]:.0%} "
        f"are at the end; little gradient passes and the loss ends at {end(s):.3g} (chance level {chance(s):.3g}).",
        [f"lower the learning rate to about {rate * 0.1:.2g}", "warm up over the first steps, clip the gradient norm"],
        rate=rate, zero_first=zero[0], zero_last=zero[-1], loss_last=end(s), update_over_weight=s.first("optimizer", "update"),
    )  # fmt: skip
