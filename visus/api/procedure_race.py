"""The race: a rival of the run, trained beside it from the first step under the remedy.

A fork squeezes the whole schedule into a few steps; of a setting that harms slowly it says
little. Where a setting is far from what is usual, yet the run learns, the run goes on, and its
rival, the run with the usual setting, trains in a folder of its own up to the same share of the
same schedule. Both are judged there, at three moments, on the same validation images. The run
itself is the control, so a race costs one arm; and a rival that wins *is* the run from then on,
bit for bit what a restart would have made of it: none of its steps is thrown away.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visus import ledger as book
from visus import training
from visus.api.procedure_treat import BUDGET, PLAIN, restart
from visus.doctor.remedies import Treatment, together
from visus.doctor.trials import LEAST, Answers, Arm, Trial, paired
from visus.errors import NotFiniteError, VisusError
from visus.layers.recalibrate import recalibrate
from visus.ledger import Ledger
from visus.training.building import make_feed
from visus.training.patient import Stopped, judges, step_cost
from visus.training.session import BEST, RECIPE

FOLDER = "race"  # of the rival, inside the run's
SHARE, SHORTER = 0.18, 0.12  # of the training at which they are judged: one rival, or two in turn
MARKS = (0.5, 0.84, 0.92, 1.0)  # parts of that share: at the first the hopeless are left
SPREAD = 0.02  # how far chance moves the difference, in the midst of a training
HOPELESS = 0.1  # a rival this far behind at the first mark is left there
HEAD_START = 0.02  # gain that a remedy owes to learning faster, where it regularizes less
REGULARIZERS = ("regularization.", "jitter", "model.dropout", "loss.label_smoothing")
LEARNED = 0.95  # of the error of chance: a run above it has learned nothing so far
DEAREST = 1.2  # a race costs at most so many times the budget, where a step of the rival costs more
NOT_COPIED = {"checkpoint", "resume", "stop", "note", "end"}


@dataclass
class Race:
    """The rivals of a session, the likeliest first, and what was seen of the session so far."""

    treatments: list[Treatment]
    share: float
    run: Lane | None = None

    def reached(self, session: training.Session) -> bool:
        """Look at the run where a mark is reached; whether that was the last one."""
        self.run = self.run or Lane(session, self.share)
        return self.run.reached()


@dataclass
class Lane:
    """One runner: at each mark its step, and by validation image whether it is wrong."""

    session: training.Session
    share: float
    steps: list[int] = field(default_factory=list)
    wrong: list[Tensor] = field(default_factory=list)

    def reached(self) -> bool:
        """Look where the next mark is reached; whether it was the last."""
        session, seen = self.session, len(self.steps)
        if seen < len(MARKS) and session.plan.done(session.step) >= MARKS[seen] * self.share:
            self.steps.append(session.step)
            self.wrong.append(_wrong(session))
        return len(self.steps) == len(MARKS)

    def arm(self, edits: tuple[str, ...], cost: float, ended: str = "") -> Arm:
        """As a trial shows it; its answer is the mean of all marks but the first."""
        arm = Arm(edits, cost=cost, ended=ended)
        arm.xs, arm.ys = list(self.steps), [float(wrong.mean()) for wrong in self.wrong]
        if len(self.steps) == len(MARKS) and not ended:
            mean = torch.stack(self.wrong[1:]).mean(0).tolist()
            arm.answers[0] = Answers(mean, [])
        return arm


def planned(
    session: training.Session, asked: training.Recipe, found: list[Treatment], left: float
) -> Race | None:  # fmt: skip
    """The race that the called treatments and what is left of the budget, in steps, allow; or None.

    Only for what the chart itself speaks for, and no finding: what the doctor can see in the
    first steps, short forks show too. Not under a time limit, which a race cannot keep.
    """
    first = together(found) or next(iter(found), None)
    if first is None or first.prior < PLAIN or first.findings or asked.training.time_limit:
        return None
    rivals = [t for t in first.rivals(found) if not t.findings][:1]
    share = SHORTER if rivals else SHARE
    if share * (1 + len(rivals)) * session.plan.steps > left:
        return None
    return Race([first, *rivals], share)


def carry_out(
    race: Race, session: training.Session, asked: training.Recipe, kept: list[str], folder: Path
) -> tuple[list[Trial], float]:  # fmt: skip
    """Run the rivals in turn until one wins: the trials and what they cost in steps of the run.

    Raises `Stopped` where a signal came meanwhile.
    """
    trials, spent = [], 0.0
    for treatment in race.treatments:
        arm, cost = _rival(race, treatment, session, asked, kept, folder)
        spent += cost
        trials.append(_verdict(race, treatment, arm, session.step))
        if trials[-1].kept:
            break
    return trials, spent


def _rival(
    race: Race, t: Treatment, session: training.Session, asked: training.Recipe, kept: list[str], folder: Path
) -> tuple[Arm, float]:  # fmt: skip
    leave(folder)
    own = session.recipe.training
    machine = [f"training.threads={own.threads}", f"training.precision={own.precision}"]
    try:
        recipe = asked.edited([*machine, *kept, *t.edits])
        ledger = Ledger(_made(folder / FOLDER))
        rival = training.Session(recipe, session.dataset, folder / FOLDER, ledger)
    except VisusError as error:  # a network that cannot be built so
        return Arm(t.edits, ended=f"cannot be tried: {str(error).split(';')[0]}"), 0.0
    dear = step_cost(rival) / step_cost(session)
    least = race.share * session.plan.steps * dear
    if least > DEAREST * BUDGET * session.plan.steps and not _quick(rival, race.share):
        return Arm(t.edits, ended=f"not tried: a step of it costs {dear:.0f} of the run's"), 0.0
    lane = Lane(rival, race.share)
    ended = _raced(lane, race)
    if rival.stopping and not ended:
        session.stop(rival.stopping)
        raise Stopped
    cost = rival.step * dear
    return lane.arm(t.edits, cost, ended), cost


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _quick(rival: training.Session, share: float) -> bool:
    """Whether the race takes some seconds only: then a step may cost many of the run's."""
    epochs = rival.recipe.training.epochs
    steps = rival.feed.per_epoch * (epochs if isinstance(epochs, int) else 20) * share
    return steps * step_cost(rival) * 3 < 5e11  # operations, backward counted as twice forward


def _raced(lane: Lane, race: Race) -> str:
    """Train the rival to the last mark; why it did not get there, or nothing."""
    rival, loop = lane.session, lane.session.run()
    assert race.run is not None
    try:
        for _ in loop:
            if lane.reached():
                break
            if len(lane.wrong) == 1 and _behind(lane, race.run):
                return f"abandoned after {rival.step} steps: far behind the run"
    except NotFiniteError as error:
        return f"broke after step {rival.step}: {str(error).split(';')[0]}"
    finally:
        loop.close()  # with a checkpoint, from which a winner goes on
    return ""


def _behind(lane: Lane, run: Lane) -> bool:
    return float(lane.wrong[0].mean()) > float(run.wrong[0].mean()) + HOPELESS


def _wrong(session: training.Session) -> Tensor:
    """By validation image 1.0 where the present weights are wrong, with their own norm statistics."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        judged = copy.deepcopy(session.state.judged)
        if session.feed.batch_size >= 16:
            feed = make_feed(session.recipe, session.dataset, session.device)
            recalibrate(judged, (feed(step) for step in range(4)))
        chosen = judges(session.dataset, session.recipe.seed)
        seen = training.evaluate(judged, session.dataset.validation, indices=chosen)
    return seen.errors.double()


def _chance(session: training.Session) -> float:
    """The error of always saying the largest class of validation; infinite where there are none."""
    targets = session.dataset.validation.targets
    if targets.ndim != 1 or targets.is_floating_point():
        return inf
    return 1.0 - float(torch.unique(targets, return_counts=True)[1].max()) / len(targets)


def _verdict(race: Race, t: Treatment, arm: Arm, step: int) -> Trial:
    assert race.run is not None
    control = race.run.arm((), float(step))
    if not arm.arrived:
        return Trial(t, control, arm, None, False, arm.ended, step)
    rows = [[own.answers[0].errors] for own in (control, arm) if own.answers[0]]
    gap = paired(rows[0], rows[1], arms=len(race.treatments), spread=SPREAD)
    easier = any(key.startswith(REGULARIZERS) for key in t.keys)
    owed = HEAD_START if easier and control.error < LEARNED * _chance(race.run.session) else 0.0
    if gap.low > owed and gap.mean > LEAST:
        return Trial(t, control, arm, gap, True, "ahead of the run itself, beyond noise", step)
    sure = "no more than what regularizing less gains at first" if gap.better else "not beyond noise"  # fmt: skip
    return Trial(t, control, arm, gap, False, f"ahead of the run itself, but {sure}" if gap.mean > 0 else "not ahead of the run itself", step)  # fmt: skip


def said(trials: list[Trial], kept: Trial | None, share: float) -> str:
    """What was decided, in a line."""
    if kept is None or kept.difference is None:
        return f"{trials[-1].reason}: {', '.join(trials[-1].treatment.edits)}; the run goes on, the race took {share:.0%} of it"
    edits, after = ", ".join(kept.treatment.edits), f"after {kept.steps} steps"
    return f"kept {edits}: {kept.difference.said} {after}; the rival goes on as the run"


def leave(folder: Path) -> None:
    """Remove what a rival left behind."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def adopt(folder: Path, ledger: Ledger, why: str, stages: list[dict[str, Any]]) -> None:
    """Make the rival the run: its ledger lines and its files take the place of the run's own.

    Killed in between, the run begins at step 0 under the rival's recipe, to the same end.
    """
    rival = folder / FOLDER
    restart(folder, ledger, why)
    for line in stages:
        ledger.write("stage", **line)
    for line in book.read(rival):
        if line["kind"] not in NOT_COPIED:
            ledger.write(line["kind"], **{k: v for k, v in line.items() if k not in ("kind", "t")})
    whole = sorted(rival.glob("checkpoint-*.json"))[-1:]
    pairs = [p for path in whole for p in (path.with_suffix(".safetensors"), path)]
    for path in [rival / RECIPE, *sorted(rival.glob(f"{BEST}.*"), reverse=True), *pairs]:
        if path.exists():
            path.replace(folder / path.name)
    leave(folder)
