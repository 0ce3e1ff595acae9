"""The rule `parameter-not-updated`."""

from __future__ import annotations

import math

from visus.doctor.progress import (
    beats_guess,
    below_guess,
    born_sick,
    guess_error,
    learned,
    untaught,
)
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.rules.parameter_without_gradient import cleared, layers
from visus.doctor.signals import Signals


@rule(asks=("updates", "layers", "loss", "trials"))
def parameter_not_updated(s: Signals) -> Finding | None:
    """Parameters have gradients, but no optimizer changes them.

    What: trainable parameters that received gradients and are in no optimizer (those of an earlier
    stage only if they were frozen and no more are), or whose values
    did not change at any recorded step; or an output layer that is frozen; or layers that are frozen
    before they learned anything; or gradients cleared before each step; or no step at all.
    Why: the layer stays at its random start. Typical: the layer was replaced, or the model
    copied, after the optimizer was made; a plain Python list of layers, which hides them
    from model.parameters().
    How: the parameters of all networks against those of all optimizers, and their values now
    against those at the first step.
    Cure: build the optimizer from model.parameters() after the model is complete; freeze with
    requires_grad_(False) what is meant to stay.
    Not: frozen layers below the output are taken for fine-tuning, unless they hold what torch draws
    for a new layer (uniform within 1 / sqrt(fan-in)), little is learned, and 120 steps of Adam on a
    copy teach clearly more where these layers learn too.
    Source: PyTorch documentation of torch.optim (constructing an optimizer).
    """
    rows = s.facts.get("parameters", [])
    if s.steps == 0 and s.facts.get("backwards", 0) >= 20:
        if born_sick(s):
            return None  # dead units give gradients of zero: what steps by hand took moved nothing
        # Gradients may have been cleared in the meantime.
        return _no_step(
            s, [r for r in rows if r["gradient"]] or [r for r in rows if r["trainable"]]
        )
    if s.steps < 3 or not rows:
        return None
    left = [r for r in rows if _left_out(r)]
    stuck = [
        r for r in rows if r["tried"] and not r["paid"] and not r["shifted"] and not r["moved"]
    ]
    last = s.layers[-1]["place"] if s.layers else ""
    trained = any(r["moved"] for r in rows)
    frozen = [
        r
        for r in rows
        if not r["trainable"] and not r["moved"] and r["name"].startswith(last + ".") and trained
    ]
    if cleared(s):
        return _cleared(s, [r for r in rows if r["asked"] and r["trainable"]])
    zero_rate = max(s.values("optimizer", "rate"), default=1.0) == 0
    names = left or (stuck if not zero_rate and _whole_layers(stuck, s) else []) or frozen
    random = untaught(s) if trained and not names else []
    names = names or (random if _harmed(s, random, rows) else [])
    if not names:
        return None
    share = sum(r["size"] for r in names) / max(sum(r["size"] for r in rows), 1)
    stray = [r for r in names if r.get("stray")]
    why = _why(names, left, frozen, stray)
    return finding(
        "error" if share > 0.5 and not trained else "warning", 0.93 if left else 0.75, layers([r["name"] for r in names]), 0,
        f"{len(names)} parameters ({share:.0%} of the weights) {why} and stay as they were.",
        (["keep layers in nn.ModuleList or nn.ModuleDict"] if stray else []) +
        ["make the optimizer from model.parameters() after the model is complete",
         "freeze with requires_grad_(False) what is meant to stay"],
        parameters=len(names), share=share,
    )  # fmt: skip


def _harmed(s: Signals, random: list[dict], rows: list[dict]) -> bool:
    """Is little learned, or not much with most weights at random, and more where these learn too?"""
    most = sum(r["size"] for r in random) > 0.5 * sum(r["size"] for r in rows)
    return learned(s) < (0.65 if most else 0.3) and not _in_vain(s, random)


def _in_vain(s: Signals, random: list[dict]) -> bool:
    """Was it tried to teach the random layers as well, and did that show nothing?"""
    kept, taught = s.last("thaw", "kept"), s.last("thaw", "taught")
    own, n, guess = s.last("final", "train_error"), s.last("thaw", "n", 0), guess_error(s)
    if s.facts.get("task") == "regression" or not n:
        return False
    beyond = below_guess(guess, n, 2)
    if not min(kept, taught) < beyond:
        # So short a trial teaches nothing, and proves nothing against what was frozen on purpose.
        return not any(r["trainable"] for r in random)
    if taught < beyond < kept and not beats_guess(s):
        return False  # only where they were taught was anything learned
    slack = 3 * math.sqrt((kept * (1 - kept) + taught * (1 - taught)) / n)
    return kept - taught < slack or taught > 0.8 * min(kept, own)


def _left_out(row: dict) -> bool:
    known = row["trainable"] and row["gradient"] and row["tracked"]
    return known and not row["optimizer"] and (not row["moved"] or row.get("thawed", False))


def _why(names: list[dict], left: list[dict], frozen: list[dict], stray: list[dict]) -> str:
    if len(stray) == len(names):
        return "hang in a plain list or dict, which hides them from model.parameters(): they are in no optimizer"
    if left and all(r.get("thawed") for r in names):
        return "were frozen when the optimizer was made and are trainable now: they are in no optimizer"
    if left:
        return "are in no optimizer"
    if any(r["fresh"] for r in names) and names is not frozen:
        return (
            "are kept out of the training with the random numbers that torch draws for a new layer"
        )
    return "are frozen" if names is frozen else "do not change when the optimizer steps"


def _cleared(s: Signals, rows: list[dict]) -> Finding | None:
    return finding(
        "error", 0.9, "optimizer", 0,
        f"At each of {len(s.values('optimizer', 'gradient'))} steps looked at all gradients were gone, though backward had run: "
        "something clears them between backward and step, and every weight stays at its first value.",
        ["call zero_grad() before backward (or after step), never between the two"], parameters=len(rows), share=1.0,
    )  # fmt: skip


def _whole_layers(stuck: list[dict], s: Signals) -> bool:
    # A dead unit's weights may rest; what is meant here is rate zero with a living gradient.
    return any(s.median(r["name"].rpartition(".")[0], "gradient", 0.0) > 1e-12 for r in stuck)


def _no_step(s: Signals, rows: list[dict]) -> Finding | None:
    if not rows or any(row["moved"] for row in rows):
        return None
    return finding(
        "error", 0.9, "optimizer", 0,
        f"Backward was called {s.facts['backwards']} times or more on a network in training mode, but no optimizer has "
        "taken a step: every weight stays at its first value.",
        ["call optimizer.step() after loss.backward()"], parameters=len(rows), steps=0, backwards=s.facts["backwards"],
    )  # fmt: skip
