"""Treating: which remedies, tried how, and what becomes of the run when one is kept.

The budget of all trials of a run is a quarter of its planned steps. A kept remedy is a line of
the ledger first and a change of the run second, so that a run killed in between knows what it
had decided. A remedy for the first step removes what was trained and starts again; one for the
living state changes the run's recipe, and the run is resumed from its checkpoint under it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from visus import files, training
from visus import ledger as book
from visus.api.procedure_chart import chart
from visus.doctor.remedies import Treatment, prescribe, together
from visus.doctor.trials import LEAST, SPREAD, Difference, Trial, contest, paired, pooled
from visus.ledger import Ledger, Line
from visus.training.automatic import batch_size
from visus.training.patient import SessionPatient, Stopped
from visus.training.session import BEST, RECIPE

BUDGET = 0.25  # share of the run's steps that all its trials together may take
SHORTEST, LONGEST = 20, 400  # steps of a fork: shorter ones prefer whatever learns fastest
LIVE = 0.35  # a fork of living weights may be so much shorter: it has learned most already
PLAIN = 0.6  # how much the chart speaks for a treatment that has the budget to itself
LUCK = 0.1  # how far chance moves the validation loss of a fork of living weights, as a share
PRECISE = 0.75  # of the suspects are likely to be wrong, from which the loss of a fork may decide
MOST = 5  # treatments in one contest
Ask = Callable[[Line], bool]


def treat(
    session: training.Session, asked: training.Recipe, ledger: Ledger, past: list[Line], *, findings: dict[str, float],
    facts: dict[str, Any], live: bool = False, least: float = 0.5, network: nn.Module | None = None, ask: Ask | None = None,
    later: float = 0.0,
) -> tuple[Trial | None, str]:  # fmt: skip
    """Try what findings and chart call for; the trial that was kept, if any, and what was decided.

    `later` is the share of the run's steps that is put aside for trials of living weights.
    Raises `Stopped` where the session was told to stop meanwhile: nothing is on record then.
    """
    found, tried = called(session, asked, past, findings, facts, live, least, network)
    if not found:
        return None, "nothing to treat"
    short = max(1, round(shortest(session) * (LIVE if live else 1.0)))
    left = BUDGET * session.plan.steps - spent(past)
    if any(not t.fresh for t in found if t.prior >= PLAIN):  # what needs a fresh start is tried now
        left = max(left - later * session.plan.steps, min(left, 2.0 * short))
    chosen, steps = _fitting(found, left, tried, short)
    if not chosen:
        return None, f"no trial: {left:.0f} steps of the budget are too few for one"
    patient = SessionPatient(session, asked, live=live, network=network)
    # Forks of living weights have more in common than those of fresh ones.
    spread, budget = SPREAD / 3 if live else SPREAD, max(left, 2.0 * steps)
    trials, cost = contest(
        patient, chosen, steps=steps, budget=budget, spread=spread, late=_deadline(session, budget)
    )
    if live:
        _by_loss(trials, facts.get("precision", 0.0))
        _reconsider(trials, past)
    kept = next((t for t in trials if t.kept), None)
    if kept:  # in steps of the run as it will be: a network that can do more costs more
        each = kept.treated.cost / (kept.steps * len(kept.treated.answers))
        cost /= max(1.0, each)
    shared = patient.shared(kept.treatment.edits) if kept else []
    kept = record(session, ledger, trials, cost, ask, live, shared=shared)
    return kept, _said(kept, trials, cost, session.plan.steps)


def _deadline(session: training.Session, steps: float) -> Callable[[], bool]:
    """Whether trials have taken, under a time limit, half as long again as so many steps should."""
    if not session.budget.limit:
        return lambda: False
    until = time.monotonic() + min(1.5 * steps * session.budget.pace, session.budget.left() / 2)
    return lambda: session.world.agree(time.monotonic() > until)


def called(
    session: training.Session, asked: training.Recipe, past: list[Line], findings: dict[str, float],
    facts: dict[str, Any], live: bool, least: float, network: nn.Module | None,
) -> tuple[list[Treatment], set[tuple[str, ...]]]:  # fmt: skip
    """The treatments that findings and chart call for, and the edits of those tried already."""
    known = chart(session, asked, findings, facts | {"given_network": network is not None})
    # What lost on fresh weights may win on living ones: many a harm shows late.
    lines = [line for line in book.select(past, "trial") if bool(line.get("live")) == live]
    tried = {tuple(line.get("edits", ())) for line in lines}
    # But not what fell behind in a race: that was longer, and squeezed nothing.
    races = [line for line in book.select(past, "trial") if line.get("race")]
    tried |= {tuple(line["edits"]) for line in races if (line.get("effect") or 0.0) < 0}
    found = [t for t in prescribe(known, least=least, live=live) if t.edits not in tried]
    return found, tried


def record(
    session: training.Session, ledger: Ledger, trials: list[Trial], cost: float, ask: Ask | None, live: bool = False,
    race: bool = False, shared: Sequence[str] = (),
) -> Trial | None:  # fmt: skip
    """Ask, where someone is to be asked, and put the trials on record; the one that is kept.

    `shared` are edits under which both arms ran, and the run will: the rate that "auto" stood for.
    """
    kept = next((t for t in trials if t.kept), None)
    world = session.world
    if kept and ask and not world.agree(ask(kept.line()) if world.main else None):
        if session.stopped():
            raise Stopped  # left at the question: it is asked again where the run goes on
        kept.kept, kept.reason = False, "better than the control, declined by the user"
    for trial in trials:
        mark = {
            "step": session.step if live else 0,
            "at": session.step,
            "live": live,
            "round_steps": cost,
        } | ({"race": True} if race else {})
        mark |= {"shared": list(shared)} if shared and trial is kept else {}
        ledger.write("trial", **trial.line(), **mark)
    return kept if kept and kept.kept else None


def _by_loss(trials: list[Trial], precision: float) -> None:
    """Keep a quarantine that validation loss proves, where validation labels speak for it too.

    Of wrong labels a network becomes unsure long before it errs: by heart it learns them at the
    end. The loss shows both; the quarantine changes neither loss nor network, so both arms mean
    the same by it. But a loss falls as well where hard images with right labels are left out, so
    `precision` of the suspects must be high, as the same vote on validation images measures it.
    The error of so short a fork, whose weights still follow the new labels, says less than both.
    """
    for trial in trials:
        first, second = trial.control.answers, trial.treated.answers
        whole = [(first[s], second[s]) for s in second if first.get(s) and second[s]]
        if trial.treatment.keys != {"training.quarantine"} or not whole or precision < PRECISE:
            continue
        rows = [[list(arm.losses) for arm in arms if arm] for arms in zip(*whole, strict=True)]
        gap = paired(rows[0], rows[1], spread=LUCK * trial.control.loss)
        if gap.better and not any(t.kept for t in trials):
            trial.kept = True
            trial.reason = f"validation loss {trial.control.loss:.2f} to {trial.treated.loss:.2f}, beyond noise; {precision:.0%} of the suspects are likely wrong"


def _reconsider(trials: list[Trial], past: list[Line]) -> None:
    """Keep the best of these where only both of its trials together, on fresh and on living weights, prove it."""
    ahead = [t for t in trials if t.difference and t.difference.mean > LEAST]
    best = min(ahead, key=lambda t: t.treated.error, default=None)
    if best is None or best.difference is None or any(t.kept for t in trials):
        return
    for line in reversed(book.select(past, "trial")):
        if tuple(line["edits"]) == best.treatment.edits and line.get("interval"):
            low, high = line["interval"]
            first = Difference(line["effect"], low, high, line["seeds"], line["n"])
            both = pooled(first, best.difference)
            if both.better and both.mean > LEAST:
                best.kept, best.difference = True, both
                best.reason = "better than the control beyond noise, both of its trials together"
            return


def shortest(session: training.Session) -> int:
    """Steps below which a fork shows nothing: fewer, where each of them sees more images.

    20 steps of 32 images; a step of b images is worth sqrt(b / 32) of them up to the usual batch
    size of such data, and b times as many beyond, where a smaller batch would take more steps.
    """
    own = int(session.recipe.training.batch_size)
    usual = batch_size(len(session.dataset.train))
    worth = max(1.0, min(own, usual) / 32) ** 0.5 * max(1.0, own / usual)
    return max(1, round(SHORTEST / worth))


def spent(past: list[Line]) -> float:
    """Steps that the treatments of the run have cost so far."""
    return sum(line["evidence"].get("steps_spent", 0.0) for line in book.select(past, "stage"))


def _fitting(
    found: list[Treatment], left: float, tried: set[tuple[str, ...]], shortest: int
) -> tuple[list[Treatment], int]:  # fmt: skip
    """Treatments for one contest and the length of its forks, so that the budget holds them."""
    both = together(found)
    chosen = [both, *found] if both and both.edits not in tried else found
    room = min(MOST, int(left // shortest) - 1)  # one of the forks is the control
    if room < 1:
        return [], 0
    if chosen[0].prior >= PLAIN:
        # Longer forks for what is likely: short ones show nothing where learning is slow. Its
        # rivals come next, where the budget holds them too.
        rivals = chosen[0].rivals(chosen)
        chosen = [chosen[0], *rivals, *(t for t in chosen[1:] if t not in rivals)]
        room = 1
    # Half a fork is put aside, for a second seed where it is close. More treatments than there
    # is room for are given along: hopeless forks are left early, and leave theirs to them.
    steps = int(left / (min(len(chosen), room) + 1.5))
    return chosen[:MOST], max(shortest, min(LONGEST, steps))


def _said(kept: Trial | None, trials: list[Trial], cost: float, steps: int) -> str:
    tail = f"{len(trials)} tried on forks of {trials[0].steps} steps, {cost / steps:.0%} of the run"
    if kept is None or not kept.kept:
        return f"no remedy kept: {tail}"
    gap = kept.difference
    assert gap is not None
    why = gap.said if gap.better else f"{kept.reason} ({gap.said})"
    edits = ", ".join(e if len(e) < 80 else f"{e[:60]}..." for e in kept.treatment.edits)
    return f"kept {edits}: {why}; {tail}"


def edits(past: list[Line]) -> list[str]:
    """The edits of all remedies kept so far, in order, and of a quarantine that was judged again."""
    found: list[str] = []
    for line in past:
        if line["kind"] == "trial" and line.get("kept"):
            found += (*line["edits"], *line.get("shared", ()))
        elif line["kind"] == "stage" and line["name"] == "suspects":
            found += line["evidence"]["edits"]
    return found


def unfinished(past: list[Line]) -> bool:
    """Whether a restart was decided and not yet carried out when the run was last left."""
    fresh = [
        n
        for n, line in enumerate(past)
        if line["kind"] == "trial" and line.get("kept") and not line["live"]
    ]
    done = [n for n, line in enumerate(past) if line["kind"] == "resume" and line.get("restart")]
    return bool(fresh) and max(fresh) > max(done, default=-1)


def restart(folder: Path, ledger: Ledger, why: str) -> None:
    """Remove what was trained: the next session begins at step 0. Safe to be killed in, and to repeat."""
    for path in sorted(folder.glob("checkpoint-*.json")):
        path.unlink()  # a checkpoint without its JSON does not count
    for path in [
        *folder.glob("checkpoint-*.safetensors"),
        *folder.glob(f"{BEST}.*"),
        folder / RECIPE,
    ]:
        path.unlink(missing_ok=True)
    ledger.write("resume", step=0, restart=True, notes=[why])


def rewrite(folder: Path, kept: list[str]) -> None:
    """Put the kept edits into the recipe of a run that goes on; doing it twice changes nothing."""
    held = training.load_recipe(folder / RECIPE)
    if (changed := held.edited(kept)) != held:
        files.replace_text(folder / RECIPE, changed.to_toml())


__all__ = ["Stopped", "edits", "restart", "rewrite", "spent", "treat", "unfinished"]
