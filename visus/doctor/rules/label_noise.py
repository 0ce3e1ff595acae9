"""The rule `label-noise`."""

from __future__ import annotations

import math

from visus.doctor.progress import (
    beats_guess,
    below_guess,
    beyond_luck,
    broken,
    chance,
    diverged,
    guess_error,
    half,
    learned,
    long_enough,
    moves,
    plain,
)
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, mean, spread


@rule(asks=("loss", "trials", "views", "labels"),
      unless=("not-shuffled", "loss-mismatch", "label-invalid", "loss-not-finite", "init-symmetric", "init-too-small",
              "learning-rate-too-small", "learning-rate-too-large", "parameter-without-gradient", "parameter-not-updated",
              "relu-dead", "activation-saturated", "regularization-too-strong", "output-range", "gradient-vanishing",
              "input-not-normalized", "gradient-not-zeroed", "gradient-exploding"))  # fmt: skip
def label_noise(s: Signals) -> Finding | None:
    """Many labels do not belong to their inputs.

    What: (a) something is learned, but the labels contradict even the surest answers, and are
    arbitrary there; or
    (b) nothing is learned at all, though the network can learn one batch by heart and no
    other rate does better: labels and inputs are out of step.
    Why: wrong labels set a floor to the error and are memorized at the end.
    How: (a) the third of the (validation) samples with the most confident answers: how many are
    wrong, and where the label ranks there among the other classes: the runner-up in true
    confusions (0), anywhere for random labels (0.5); with two classes, whether sure answers
    are wrong as often as unsure ones. (b) experiments on a copy: one batch by
    heart, and 120 steps of Adam whose effect is measured on batches held out.
    Cure: look at the samples with the highest loss; check that inputs and labels are shuffled by
    the same permutation; robust losses, label smoothing.
    Not: hard data: there the sure answers are right, and the given label is the runner-up. Where
    another cause is found it explains the errors, and nothing is said of the labels; nor where
    anything is learned from them for sure: at any evaluation more right answers than by luck (Cohen
    1960), a lower loss than the best constant answer has, or a loss below chance level on training
    batches met for the first time; each by three standard errors.
    Source: Northcutt, Jiang, Chuang 2021, Confident learning; Zhang et al. 2017.
    """
    if not plain(s) or not long_enough(s) or diverged(s) or broken(s):
        return None
    score, error = learned(s), s.last("final", "train_error")
    early = at_best(s)
    sure, everywhere, rank, n = early or certainty(s)
    first, last = s.last("trial", "batch_first"), s.last("trial", "batch_last")
    partly = 0.15 < score < 0.95 and n >= 15 and sure > 0.08
    arbitrary = rank - 0.6 / math.sqrt(max(n, 1)) > (0.05 if _sure_elsewhere(s, sure) else 0.3)
    ranked = score > 0.25 and (arbitrary or _strewn(s))
    partly = bool(early) or (partly and (ranked or _flat(s, sure, everywhere, n)))
    nothing = _unrelated(s, score)
    if nothing and not partly and (_sees(s) or _rival_learns(s)):
        return None  # it, or a plain network, does learn from these labels
    if not partly and not nothing:
        return None
    place = (f", and their labels rank at {rank:.2f} among the other classes (runner-up 0, random 0.5)" if rank > 0
                 else f", hardly fewer than of all samples ({everywhere:.0%})")  # fmt: skip
    text = (f"Where the network is surest, {sure:.0%} of the labels contradict it{place}: they look arbitrary.") if partly else (
            f"Nothing is learned, yet one batch is learned by heart (loss {first:.2g} to {last:.2g}): the labels seem unrelated "
            "to the inputs.")  # fmt: skip
    return finding(
        "warning" if partly else "error", 0.75 if partly else 0.65, "labels", s.steps, text,
        ["check that inputs and labels are permuted and filtered together",
         "look at the samples with the highest loss and correct their labels"],
        training_error=error, sure_error=sure, all_error=everywhere, label_rank=rank, learned=score,
        one_batch_first=first, one_batch_last=last,
    )  # fmt: skip


def _unrelated(s: Signals, score: float) -> bool:
    # Nothing is learned that holds for other samples, though one batch can be learned by heart.
    seen = s.steps * s.median("batch", "size", 0)
    fits = s.last("trial", "batch_last") < 0.6 * s.last("trial", "batch_first")
    # A few samples by heart look like something learned; squared errors scatter too widely for this.
    faint = seen >= 2000 and score < 0.3 and s.facts.get("task") in ("classification", "binary")
    idle = (seen >= 2000 and score < 0.15) or (faint and not beats_guess(s))
    tried = idle or (faint and s.last("trial", "held_n", 0) >= 100)
    nothing = fits and tried and not _held_out_learns(s)
    return nothing or (score > 0.15 and _no_better_than_chance(s)) or (idle and _rival_guesses(s))


def certainty(s: Signals) -> tuple[float, float, float, float]:
    """Of the later half of the watch: error of the surest third and of all samples, the mean rank of
    the labels that contradict a sure answer, and how many these are.

    On validation samples where there are enough: a network learns wrong labels by heart. But not
    where it errs far more often on what it learns from: then only those labels are wrong.
    """
    places = (("validation", 60), ("labels", 1))
    for place, least in places[1:] if _worse_on_train(s) else places:
        found = _of(s, place)
        if found[0] >= least:
            return found[1:]
    return 0.0, 0.0, 0.0, 0.0


def at_best(s: Signals) -> tuple[float, float, float, float] | None:
    """What `certainty` gives of the labels it learned from when it knew the validation samples best,
    if its sure answers were right there and contradicted by these labels, which are arbitrary.

    Later it may know wrong labels by heart. Not where no sample comes back as it was: jitter so
    strong takes the answer away.
    """
    best = _best(s)
    if best is None or not _come_back(s):
        return None
    _, sure, everywhere, rank, n = _of(s, "labels", best / 2, 1.1 * best)
    seen, wrong, *_ = _of(s, "validation", best - 0.5, best)
    arbitrary = rank - 0.6 / math.sqrt(max(n, 1)) > 0.2
    found = n >= 15 and sure > 0.2 and seen >= 30 and wrong < sure / 3 and arbitrary
    return (sure, everywhere, rank, n) if found else None


def _best(s: Signals) -> int | None:
    """The step after which an evaluation of enough samples erred least; None where none is known."""
    seen: dict[int, tuple[float, float]] = {}
    columns = [s.series("validation", name) for name in ("all_n", "all_wrong")]
    for (step, n), (_, wrong) in zip(*columns, strict=True):
        before = seen.get(step, (0.0, 0.0))
        seen[step] = before[0] + n, before[1] + wrong
    known = {step: wrong / n for step, (n, wrong) in seen.items() if n >= 30 and step >= 20}
    return min(known, key=lambda step: known[step]) if known else None


def _of(
    s: Signals, place: str, since: float | None = None, until: float = math.inf
) -> tuple[float, float, float, float, float]:
    """Sure samples seen at a place after a step (half of all); their error, that of all, mean rank,
    and how many are wrong."""
    since = s.steps / 2 - 0.5 if since is None else since
    late = [since < step <= until for step, _ in s.series(place, "sure_n")]
    names = ("sure_n", "sure_wrong", "sure_rank", "all_n", "all_wrong")
    columns = [s.values(place, name) for name in names]
    rows = [row for *row, kept in zip(*columns, late, strict=True) if kept]
    n, wrong, everywhere = (sum(row[k] for row in rows) for k in (0, 1, 3))
    rank = sum(row[1] * row[2] for row in rows) / max(wrong, 1)
    error = sum(row[4] for row in rows) / max(everywhere, 1)
    return n, wrong / max(n, 1), error, rank, wrong


def _sure_elsewhere(s: Signals, sure: float) -> bool:
    # Sure answers that are right on samples held out, and contradicted by a good part of the
    # labels it learns from: not hard data, and jitter leaves sure answers right.
    # Not where no sample comes back as it was: jitter so strong takes the answer away.
    n, wrong, *_ = _of(s, "validation")
    return _come_back(s) and _worse_on_train(s) and n >= 30 and sure > 0.15 and wrong < sure / 3


def _come_back(s: Signals) -> bool:
    # Do samples come back as they were in later epochs?
    return max(half(s.values("train", "known")), default=0.0) > 0.1


def _strewn(s: Signals) -> bool:
    # All errors on what it learns from, where it errs far more than on samples held out: their labels
    # rank nearly as random ones do.
    rank, n = s.last("labels", "wrong_rank", 0.0), s.last("labels", "wrong_n", 0)
    return _worse_on_train(s) and rank - 0.6 / math.sqrt(max(n, 1)) > 0.3


def _worse_on_train(s: Signals) -> bool:
    # Both in evaluation mode: wrong labels, or jitter, which leaves sure answers right.
    train, held = s.last("final", "train_error"), s.last("final", "validation_error")
    n = min(s.last("final", "train_n", 0), s.last("final", "validation_n", 0))
    return n >= 100 and train - held > 0.1 and train > 1.5 * held


def _flat(s: Signals, sure: float, everywhere: float, n: float) -> bool:
    # Two or three classes have no ranks. Hard samples are those near the border, wrong labels lie
    # anywhere; so do the errors of a network that cannot bend its border, which one batch shows.
    fits = s.last("trial", "batch_last") < 0.6 * s.last("trial", "batch_first")
    guess = guess_error(s)
    few = s.facts.get("task") == "binary" or s.facts.get("classes", 9) <= 3
    slack = 1.5 * math.sqrt(sure * (1 - sure) * sure / n) if n else 1.0  # n / sure samples
    return few and fits and n >= 20 and everywhere < 0.8 * guess and sure - slack > 0.6 * everywhere


def _no_better_than_chance(s: Signals) -> bool:
    # On validation samples (else on training samples) the answer is as good as a guess,
    # although the network has seen a good number of samples.
    if s.steps * s.median("batch", "size", 0) < 2000 or s.facts.get("few_samples"):
        return False  # a handful of samples is learned by heart and teaches nothing
    error, n = s.last("final", "validation_error"), s.last("final", "validation_n", 0)
    if s.facts.get("task") == "regression":
        level = s.last("final", "validation_level", s.last("validation", "level", chance(s)))
        return n >= 100 and s.facts.get("kind") == "mse_loss" and error > 0.95 * level
    if n < 100 and learned(s) < 0.15:
        error, n = s.last("final", "train_error"), s.last("final", "train_n", 0)
    guess = guess_error(s)
    if s.facts.get("task") not in ("classification", "binary") or n < 100 or guess < 0.3:
        return False
    return error > below_guess(guess, n)


def _sees(s: Signals) -> bool:
    # Labels and inputs do belong together: at some evaluation more answers fitted their labels than
    # luck gives, or the loss lay below that of the best constant answer to these very labels; or the
    # loss of batches never met before fell below chance level. Each by three standard errors.
    places = [("validation", ""), ("final", "validation_")]
    return any(_informed(s, place, prefix) for place, prefix in places) or _first_pass_falls(s)


def _informed(s: Signals, place: str, prefix: str) -> bool:
    names = ("n", "error", "luck", "loss", "loss_error", "level")
    columns = [dict(s.series(place, prefix + name)) for name in names]
    looks = [[c.get(step, math.nan) for c in columns] for step, n in columns[0].items() if n >= 60]
    return any(beyond_luck(*look) for look in looks)


def _first_pass_falls(s: Signals) -> bool:
    """True when the training loss was below chance level before any sample came back.

    Until then each batch is one that the network has not seen: what lowers its loss holds for others
    too. The later half of these steps; three standard errors of their mean.
    """
    again = next((step for step, known in s.series("train", "known") if known > 0), 0)
    ratio = s.median("loss", "data") / s.median("loss", "total")
    first = half([v * ratio for step, v in s.series("loss", "value") if step <= again])
    if len(first) < 10 or moves(s) or s.facts.get("task") not in ("classification", "binary"):
        return False
    return mean(first) + 3 * spread(first) / math.sqrt(len(first)) < chance(s)


def _rival_guesses(s: Signals) -> bool:
    # On batches held out the plain network is no better than a guess.
    error, n, guess = s.last("trial", "rival_error"), s.last("trial", "rival_n", 0), guess_error(s)
    return n >= 100 and guess >= 0.3 and error > below_guess(guess, n)


def _rival_learns(s: Signals) -> bool:
    # On batches held out the plain network halves the error of a guess, beyond doubt.
    error, n, guess = s.last("trial", "rival_error"), s.last("trial", "rival_n", 0), guess_error(s)
    if n < 30 or guess < 0.3 or not math.isfinite(error):
        return False
    return error + 3 * math.sqrt((error * (1 - error) + 1e-3) / n) < 0.5 * guess


def _held_out_learns(s: Signals) -> bool:
    # 120 steps of Adam on some recorded batches: do others profit? Unknown counts as yes, and so
    # does likely.
    error, n = s.last("trial", "held_error"), s.last("trial", "held_n", 0)
    guess = guess_error(s)
    if n < 40 or not math.isfinite(error):
        return True
    if s.facts.get("kind") == "mse_loss":
        return error < 0.9 * chance(s)
    if guess < 0.3:
        return True
    return error < below_guess(guess, n, 1.5)
