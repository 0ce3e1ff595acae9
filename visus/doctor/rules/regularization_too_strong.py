"""The rule `regularization-too-strong`."""

from __future__ import annotations

from visus.doctor.progress import diverged, end, half, hidden, learned, long_enough, moves, plain
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals, median


@rule(asks=("loss", "layers", "updates", "trials"),
      because=("loss-not-finite", "init-symmetric", "loss-mismatch", "label-invalid"))  # fmt: skip
def regularization_too_strong(s: Signals) -> Finding | None:
    """Weight decay, a penalty or dropout drowns what the data say.

    What: little is learned, and the pull of the decay exceeds the gradient of the loss, or the
    penalty exceeds the loss itself, or dropout removes three quarters of the units; or, where a
    term is added to the loss of the data, that loss no longer depends on the input (the
    posterior collapse of a variational autoencoder).
    Why: the lowest regularized loss then lies near weights of zero, whatever the data.
    How: decay times weight norm over gradient norm; the loss that backward gets over the loss
    of the data; the rate of dropout, and the loss with dropout on and off; the loss of the data with
    the inputs of other samples.
    Cure: a tenth of the weight decay (1e-4 to 1e-2), a smaller factor of the penalty, dropout 0.5
    or less.
    Not: strong regularization in a network that learns is left alone.
    Source: the lecture's table of symptoms; Krogh, Hertz 1992; Srivastava et al. 2014.
    """
    if not plain(s) or not long_enough(s) or diverged(s):
        return None
    if _ignored(s):
        return _collapsed(s)
    decay = next((o["decay"] for o in s.facts.get("optimizers", [])), 0.0)
    rate = median(s.values("optimizer", "rate"), 0.0)
    name = next((o["name"] for o in s.facts.get("optimizers", [])), "")
    fierce = name == "AdamW" and rate * decay > 0.03  # of the weights, at each step
    if learned(s) > (0.9 if fierce else 0.7):
        return None
    weights, gradient = s.values("optimizer", "weights"), s.values("optimizer", "gradient")
    pull = median(
        (decay * w / g for w, g in zip(half(weights), half(gradient), strict=False) if g > 0), 0.0
    )
    shrunk = weights[-1] / weights[0] if weights and weights[0] > 0 else 1.0
    if name == "AdamW":  # decoupled: each step takes rate * decay of the weights away
        pull = 2.0 if shrunk < (0.8 if fierce else 0.5) and rate * decay * s.steps > 0.7 else 0.0
    penalty = median((t / d for t, d in zip(half(s.values("loss", "total")), half(s.values("loss", "data")), strict=False)
                      if d > 0), 1.0)  # fmt: skip
    dropout = s.facts.get("dropout", 0.0)
    noisy = dropout >= 0.7 and _above(s.median("switch", "train"), s.median("switch", "eval"))
    strong_start = s.first("loss", "total", 1.0) > 1.5 * s.first("loss", "data", 1.0)
    if pull > 1:
        text, where = (
            f"weight decay {decay:g} pulls {pull:.1f} times as hard as the gradient of the loss",
            "optimizer",
        )
    elif shrunk < (0.5 if strong_start else 0.3 if decay > 1e-3 else 0):
        text, where = f"the penalty on the weights has taken {1 - shrunk:.0%} of them", "loss"
    elif penalty > 2 and moves(s, 0.02):
        text, where = (
            f"the penalty makes up {1 - 1 / penalty:.0%} of the loss that is minimized",
            "loss",
        )
    elif dropout >= 0.75 or noisy:
        text, where = f"dropout removes {dropout:.0%} of the units", "dropout"
    else:
        return None
    return finding(
        "error" if learned(s) < 0.15 else "warning", 0.85, where, 0,
        f"Little is learned (training loss {end(s):.3g}) and {text}; the weights stand at {shrunk:.0%} of their first norm.",
        ["lower the weight decay or the factor of the penalty tenfold", "use dropout of 0.5 or less"],
        decay=decay, pull=pull, penalty=penalty, dropout=dropout, weights_left=shrunk,
    )  # fmt: skip


def _above(loss: float, calm: float) -> bool:
    """Is a loss a tenth above another? (One with learned variances may be below zero.)"""
    return loss - calm > 0.1 * abs(calm)


def _ignored(s: Signals) -> bool:
    # Not where units that never answer, or answer alike, stop the input on its way.
    own, other = s.last("final", "own_input"), s.last("final", "other_input")
    shut = any(
        s.last(layer["place"], q, 0.0) > 0.9 for layer in hidden(s) for q in ("dead", "saturated")
    )
    return moves(s) and not shut and other - own < 0.02 * own and learned(s) < 0.9


def _collapsed(s: Signals) -> Finding:
    own, other = s.last("final", "own_input"), s.last("final", "other_input")
    return finding(
        "error", 0.85, "loss", 0,
        f"The loss of the data is {own:.4g}, and {other:.4g} when each sample is given the input of another: the output ignores "
        "the input. What is added to that loss asks for this, and the data have not outweighed it.",
        ["lower the factor of the added term tenfold, or raise it slowly from zero",
         "sum or average both terms over the same elements"],
        own_input=own, other_input=other, penalty=s.first("loss", "total") / s.first("loss", "data"),
    )  # fmt: skip
