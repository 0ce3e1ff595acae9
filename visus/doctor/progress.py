"""Has the network learned? Read from signals, against chance level, for all rules alike."""

from __future__ import annotations

import math

from visus.doctor.signals import Signals, median


def losses(s: Signals) -> list[float]:
    """The training loss by step."""
    return s.values("loss", "value")


def begin(s: Signals) -> float:
    """The loss of the first steps (median of three)."""
    return median(losses(s)[:3])


def end(s: Signals) -> float:
    """The loss of the last tenth of the steps (median)."""
    values = losses(s)
    return median(values[-max(len(values) // 10, 5) :])


def chance(s: Signals) -> float:
    """The loss of the best answer that ignores the input: label entropy, target variance."""
    task, facts = s.facts.get("task"), s.facts
    if task == "classification":
        return facts.get("prior_entropy") or math.log(max(facts.get("classes", 2), 2))
    if task == "binary":
        return facts.get("prior_entropy") or math.log(2)
    if facts.get("kind") == "mse_loss":
        return s.median("target", "std") ** 2
    return begin(s)


def guess_error(s: Signals) -> float:
    """The share of samples that naming the commonest class gets wrong; 0 where it is not known."""
    return 1 - s.facts.get("majority", 1.0)


def below_guess(guess: float, n: float, errors: float = 3) -> float:
    """The error under which an answer over n samples is no guess, by so many standard errors."""
    return guess - errors * math.sqrt(guess * (1 - guess) / n)


def beyond_luck(
    n: float, error: float, guess: float, loss: float, off: float, level: float
) -> bool:
    """Is an error over n samples below that of a guess, or a loss, known to `off`, below the `level` of
    the best constant answer, by three standard errors?"""
    return error < below_guess(guess, n) or loss + 3 * off < level


def beats_guess(s: Signals) -> bool:
    """True where the training batches, in evaluation mode, show that something is learned for sure:
    an error below that of a guess, or a loss below that of the best constant answer to these very
    labels, by three standard errors."""
    names = ("n", "error", "loss", "loss_error", "level")
    n, error, *losses = (s.last("final", f"train_{name}") for name in names)
    return n >= 100 and beyond_luck(n, error, guess_error(s), *losses)


def floor(s: Signals) -> float:
    """The lowest loss that the targets allow: above zero for soft targets and smoothed labels."""
    return s.median("loss", "floor", 0.0)


def parts(s: Signals) -> float:
    """How many times the loss that backward gets goes into that of the data: the number of accumulated
    steps, where it begins as a part of chance level and the loss of the data does not; else 1."""
    total, data, base = s.first("loss", "total"), s.first("loss", "data"), chance(s)
    part = 0 < total < 0.7 * base and data > 0.7 * base and not moves(s)
    return data / total if part else 1.0


def learned(s: Signals) -> float:
    """0: no better than a constant answer; 1: perfect on the training batches. May be < 0.

    The best of what loss and error say, in training mode and in evaluation mode.
    """
    found: list[float] = []
    base, least = chance(s), floor(s)
    for value, low in ((parts(s) * end(s), least), (s.last("final", "train_loss"), 0.0)):
        if math.isfinite(value) and base > max(low, 0):
            found.append(1 - (value - low) / (base - low))
    error = s.last("final", "train_error")
    if s.facts.get("task") in ("classification", "binary") and math.isfinite(error):
        rest = guess_error(s) if "majority" in s.facts else 0.5
        if rest > 0.02:
            found.append(1 - error / rest)
    values = losses(s)
    if not values or not math.isfinite(values[-1]):
        return min(0.0, *found) if found else 0.0
    return min(max(found, default=0.0), 1.0)


def long_enough(s: Signals, steps: int = 40) -> bool:
    """Too few steps prove nothing about learning."""
    return len(losses(s)) >= steps


def broken(s: Signals) -> bool:
    """True when the training loss became infinite or not a number."""
    return not all(map(math.isfinite, losses(s)))


def diverged(s: Signals) -> bool:
    """True when the loss ended far above its beginning and above chance level, or broke."""
    values = losses(s)
    if len(values) < 4:
        return False
    if broken(s):
        first = next(i for i, v in enumerate(values) if not math.isfinite(v))
        before = values[max(first - 3, 0) : first]
        return bool(before) and first > 1 and max(before) > 2 * max(min(values[:3]), _base(s))
    # The first step may throw the loss up already: the lowest of the first three counts.
    return end(s) > 1.5 * max(min(values[:3]), _base(s), 1e-12)


def _base(s: Signals) -> float:
    value = chance(s)
    return value if math.isfinite(value) else 0.0


def plateau(s: Signals) -> bool:
    """True when the last third of the losses is no lower than the middle third."""
    values = [v for v in losses(s) if math.isfinite(v)]
    third = len(values) // 3
    if third < 10:
        return False
    middle, last = median(values[third : 2 * third]), median(values[-third:])
    return last > middle - 0.05 * abs(middle)


def relapse(s: Signals) -> tuple[float, float]:
    """The least loss of a tenth of the training, and that of the last tenth, where the training came
    well below chance level and then lost more than half of what it had learned; else nan twice."""
    values, level = [v for v in losses(s) if math.isfinite(v)], chance(s)
    part = len(values) // 20
    if part < 5 or not level > 0:
        return math.nan, math.nan
    best = min(median(values[k * part : (k + 2) * part]) for k in range(18))
    last = median(values[-2 * part :])
    lost = best < 0.6 * level and last > max(1.4 * best, 0.5 * level)
    return (best, last) if lost else (math.nan, math.nan)


def moves(s: Signals, least: float = 1e-3) -> bool:
    """True when something is added to the loss of the data, and weighs more or less with time.

    A factor on the loss (a gradient scaler, a weight) keeps total / data constant.
    """
    pairs = zip(s.values("loss", "total"), s.values("loss", "data"), strict=False)
    ratios = [total / data for total, data in pairs if data > 0]
    return bool(ratios) and max(ratios) - min(ratios) > least * max(ratios)


def driven(s: Signals) -> bool:
    """True when long steps (beyond a hundredth of the weights) made the weights grow 2.5 times."""
    weights = s.values("optimizer", "weights")
    grown = bool(weights) and weights[-1] > 2.5 * weights[0]
    return grown and s.median("optimizer", "update") > 0.01


def used_rate(s: Signals) -> float:
    """The mean rate over the highest: cosine and one-cycle use about half, a dying schedule little."""
    rates = s.values("optimizer", "rate")
    return sum(rates) / len(rates) / max(rates) if len(rates) > 20 and max(rates) > 0 else 1.0


def idle(s: Signals) -> bool:
    """True when a schedule took the rate away early, with much left to learn."""
    return used_rate(s) < 0.12 and learned(s) < 0.85


def rested(s: Signals) -> bool:
    """True when all steps together moved the weights by less than a fiftieth of their size."""
    return s.last("optimizer", "travel", 1.0) < 0.02


def stands(s: Signals) -> bool:
    """True when all steps together moved the weights by less than a thousandth of their size, and
    the answers are no better than one that ignores the input."""
    known = s.facts.get("task") in ("classification", "binary")  # else chance level is but a guess
    still = known and long_enough(s) and s.last("optimizer", "travel", 1.0) < 1e-3
    return still and learned(s) < 0.05 and not idle(s)


def plain(s: Signals) -> bool:
    """One loss, one optimizer: where words like under- and overfitting have a meaning."""
    return bool(s.facts.get("plain"))


def hidden(s: Signals) -> list[dict]:
    """The weight layers but the last, in the order data meets them."""
    return s.layers[:-1]


def half(values: list[float]) -> list[float]:
    """The later half of a series (at least one value, when there is one)."""
    return values[len(values) // 2 :]


def backward_broke(s: Signals) -> bool:
    """True when backward made a gradient that is not finite of a loss no larger than at first."""
    first = next((k for k, g in s.series("optimizer", "gradient") if not math.isfinite(g)), None)
    if first is None:
        return False
    loss = next((v for step, v in s.series("loss", "value") if step > first), math.inf)
    return abs(loss) <= 2 * abs(losses(s)[0])


def born_sick(s: Signals) -> bool:
    """True when a hidden layer was saturated or dead before the first step was taken."""
    seen = [s.series(layer["place"], q)[:1] for layer in hidden(s) for q in ("saturated", "dead")]
    return any(step == 0 and share > 0.6 for points in seen for step, share in points)


def untaught(s: Signals) -> list[dict]:
    """Parameters kept out of the training, some of which hold what torch draws for a new layer."""
    rows = s.facts.get("parameters", [])
    out = [
        r for r in rows if not (r["moved"] or r["granted"] or (r["trainable"] and r["optimizer"]))
    ]
    return out if any(r["fresh"] for r in out) else []


def adam_learns(s: Signals) -> bool:
    """True when 120 steps of Adam at 0.002 from the first weights, an experiment on a copy, did better
    on batches held out than the program on those that it was trained on."""
    held, own = s.last("trial", "held_error"), s.last("final", "train_error")
    n = s.last("trial", "held_n", 0)
    if s.facts.get("task") == "regression":
        return n >= 60 and held < 0.8 * own
    error = own * (1 - own) / max(s.last("final", "train_n", 0), 1) + held * (1 - held) / max(n, 1)
    return n >= 30 and own - held > 3 * math.sqrt(error)
