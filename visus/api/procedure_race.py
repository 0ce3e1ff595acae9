"""The race: a rival of the run, trained beside it from the first step under the remedy.

A fork squeezes the whole schedule into a few steps; of a setting that harms slowly it says
little. Where a setting is far from what is usual, yet the run learns, the run goes on, and its
rival, the run with the usual setting, trains in a folder of its own up to the same share of the
same schedule. Both are judged there on the same validation images, by a moving average of their
weights (Polyak & Juditsky 1992), which is moved less by chance. What leads early need not lead
late, so that the earlier a stage, the surer it must be (O'Brien & Fleming 1979). The run
itself is the control, so a race costs one arm; and a rival that wins *is* the run from then on,
bit for bit what a restart would have made of it: none of its steps is thrown away.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from math import inf, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch

from visus import ledger as book
from visus import training
from visus.api.procedure_looks import JUDGED, STAGES, Lane
from visus.api.procedure_treat import BUDGET, PLAIN, restart
from visus.doctor.remedies import Treatment, together
from visus.doctor.trials import LEAST, Arm, Difference, Trial, paired
from visus.errors import NotFiniteError, VisusError
from visus.ledger import Ledger
from visus.training.automatic import usual_rate
from visus.training.patient import Stopped, step_cost
from visus.training.session import BEST, RECIPE

FOLDER = "race"  # of the rival, inside the run's
CLEAR = 0.1  # lead from which the first stage decides, and of a penalty's relief all but the last
SURE = 1.7  # standard errors of a win at the last stage; at a share t of its reach / sqrt(t)
FEW, SOME, PLAINLY = 200, 500, 10  # images of the first looks; how many times surer these must be
HOPE = 1.64  # standard errors that what was not looked at yet may better a lead by (one in twenty)
SPREAD = 0.01  # how far chance moves the difference of two trainings, judged so
HEAD_START = 0.02  # gain that a remedy owes to learning faster at first, where it makes that easier
EASIER = ("jitter", "model.dropout", "loss.label_smoothing")
LATE = ("optimizer.", "regularization.")  # what must be judged near the height of the rate
PENALTY = "regularization."  # without it a run learns faster at first, and by heart at the end
LEARNED = 0.95  # of the error of chance: a run above it has learned nothing so far
SHARE = STAGES[-1][-1]  # of the run's steps that a race may take
DEAREST = 1.2  # a race costs at most so many times the budget of forks, where a step of the rival costs more
BESIDE = (
    "schedule",
    "regularization",
    "training.ema",
    "training.clip",
    "loss.label_smoothing",
    "jitter",
    "model.dropout",
)  # of no concern to a range test
NOT_COPIED = {"checkpoint", "resume", "stop", "note", "end"}


@dataclass
class Race:
    """The run, its rival under the treatment, and the stage of the race."""

    treatment: Treatment
    run: Lane
    rival: Lane | None = None
    stage: int = 0
    last: int = len(STAGES) - 1  # the stage that the budget reaches

    @property
    def sure(self) -> float:
        """Standard errors that a win takes at this stage."""
        return SURE * sqrt(STAGES[self.last][-1] / STAGES[max(1, self.stage)][-1])

    def reached(self) -> bool:
        """Look at the run where a mark is reached; whether the stage is over."""
        return self.run.reached(self.stage)


def planned(session: training.Session, found: list[Treatment], left: float) -> Race | None:
    """The race that the called treatments and what is left of the budget, in steps, allow; or None.

    Only for what the chart itself speaks for, and no finding: what the doctor can see in the
    first steps, short forks show too.
    """
    first = together(found) or next(iter(found), None)
    if first is None or first.prior < PLAIN or first.findings:
        return None
    if STAGES[1][-1] * session.plan.steps > left:
        return None
    soon = not any(key.startswith((*EASIER, *LATE)) for key in first.keys)
    return Race(first, Lane(session), stage=0 if soon else 1)


def carry_out(
    race: Race, asked: training.Recipe, kept: list[str], folder: Path, left: float
) -> tuple[Trial | None, float]:  # fmt: skip
    """Run the rival to where the run stands: the trial, and what it cost in steps of the run.

    None where the race is still open and `left`, in steps, allows its next stage. Raises
    `Stopped` where a signal came meanwhile.
    """
    session, t, first = race.run.session, race.treatment, race.rival is None
    try:
        race.rival = _entered(race, asked, kept, folder)
    except VisusError as error:  # a network that cannot be built so
        return _lost(race, f"cannot be tried: {str(error).split(';')[0]}"), 0.0
    rival = race.rival.session
    dear = step_cost(rival) / step_cost(session)
    if first and STAGES[1][-1] * dear > DEAREST * BUDGET and not _quick(rival):
        return _lost(race, f"not tried: a step of it costs {dear:.0f} of the run's"), 0.0
    broken = _raced(race.rival, race.stage)
    if rival.stopping:
        session.stop(rival.stopping)
        raise Stopped
    cost = rival.step * dear
    if broken:
        return _lost(race, broken), cost
    reached = [n for n, part in enumerate(STAGES) if part[-1] * session.plan.steps * dear <= left]
    race.last = max([1, *reached])  # what entered may come to the first stage that judges
    more = race.stage < race.last
    # Steps too long lead while they are warmed up, and a penalty takes its time to shrink weights.
    late = any(key.startswith(LATE) for key in t.keys)
    least = -inf if not race.stage or (late and race.stage == 1) else -SPREAD if late else LEAST
    trial = _judged(race, cost, least if more else inf)
    gain = trial.difference.mean if trial.difference else -inf
    if more and not trial.kept and gain > least:
        race.stage += 1
        return None, cost
    return trial, cost


def _entered(race: Race, asked: training.Recipe, kept: list[str], folder: Path) -> Lane:
    """The rival at its start, or where it stood at the end of the stage before."""
    session, place = race.run.session, folder / FOLDER
    if race.rival:
        again = training.Session(
            None, session.dataset, place, _ledger(session, place), clock=_clock(session)
        )
        if race.rival.average:
            race.rival.average.follow(again.state.judged)
        return replace(race.rival, session=again)
    if session.world.main:
        leave(folder)
    own = session.recipe.training
    machine = [f"training.threads={own.threads}", f"training.precision={own.precision}"]
    recipe = asked.edited([*machine, *kept, *race.treatment.edits, *shared(race, asked)])
    ledger = _ledger(session, place)
    return Lane(training.Session(recipe, session.dataset, place, ledger, clock=_clock(session)))


def _clock(session: training.Session) -> training.Clock | None:
    """Of a time limit both runners have one clock."""
    return session.clock if session.budget.limit else None


def shared(race: Race, asked: training.Recipe) -> list[str]:
    """The rate that the run's range test found, where a range test of the rival would say the same.

    Where the rate is the optimizer's usual one, and the treatment changes neither optimizer nor
    network nor batch.
    """
    own = race.run.session.recipe
    beside = all(key.startswith(BESIDE) for key in race.treatment.keys)
    if asked.optimizer.rate != "auto" or not beside or own.optimizer.rate != usual_rate(own):
        return []
    return [f"optimizer.rate={own.optimizer.rate!r}"]


def _lost(race: Race, why: str) -> Trial:
    """A rival that never got to where it could be judged."""
    run, t = race.run, race.treatment
    return Trial(t, run.arm((), 0.0), Arm(t.edits, ended=why), None, False, why, run.steps[-1])


def _ledger(session: training.Session, folder: Path) -> Ledger:
    """The rival's, which the first rank alone has."""
    if not session.world.main:
        return Ledger()
    folder.mkdir(parents=True, exist_ok=True)
    return Ledger(folder)


def _quick(rival: training.Session) -> bool:
    """Whether the race takes some seconds only: then a step may cost many of the run's."""
    epochs = rival.recipe.training.epochs
    steps = rival.feed.per_epoch * (epochs if isinstance(epochs, int) else 20) * STAGES[1][-1]
    return steps * step_cost(rival) * 3 < 5e11  # operations, backward counted as twice forward


def _raced(lane: Lane, stage: int) -> str:
    """Train the rival to the end of the stage; why it did not get there, or nothing."""
    loop = lane.session.run()
    try:
        for _ in loop:
            if lane.reached(stage):
                break
    except NotFiniteError as error:
        return f"broke after step {lane.session.step}: {str(error).split(';')[0]}"
    finally:
        loop.close()  # with a checkpoint, from which a winner goes on
    return "" if lane.over(stage) else f"the time was spent after {lane.session.step} steps"


def _chance(session: training.Session) -> float:
    """The error of always saying the largest class of validation; infinite where there are none."""
    targets = session.dataset.validation.targets
    if targets.ndim != 1 or targets.is_floating_point():
        return inf
    return 1.0 - float(torch.unique(targets, return_counts=True)[1].max()) / len(targets)


def _judged(race: Race, cost: float, least: float) -> Trial:
    """By the newest mark's first images where these are plain, else by more of them, and both marks.

    A gain above `least` goes into a later stage in any case: then no more is looked at once a win
    is out of reach. Otherwise it is lost, which at least `SOME` images at both marks must say.
    """
    assert race.rival is not None
    step, edits = race.run.session.step, race.treatment.edits
    for marks, most in ((1, FEW), (JUDGED, FEW), (JUDGED, SOME), (JUDGED, None)):
        for lane in (race.run, race.rival):
            for look in lane.looks[-marks:]:
                look.closely(most)
        surer = PLAINLY if most else 1
        trial = _verdict(race, race.rival.arm(edits, cost), step, surer)
        gap = trial.difference
        if not race.stage or trial.kept or (gap and surer > 1 and gap.worse):
            return trial
        if gap and _hopeless(race, gap) and (gap.mean > least or most == SOME):
            return trial
    return trial


def _hopeless(race: Race, gap: Difference) -> bool:
    """Whether the images that were not looked at yet can hardly make a win of it."""
    whole, z = len(race.run.looks[-1].chosen), race.sure
    half = (gap.high - gap.low) / 2 / NormalDist().inv_cdf(1 - 0.025 / _arms(race, PLAINLY))
    each = max(0.0, half**2 - SPREAD**2) * gap.n  # the variance of an image's difference
    best = gap.mean + HOPE * sqrt(max(0.0, each / gap.n - each / whole))
    return best < max(LEAST, z * sqrt(each / whole + SPREAD**2))


def _arms(race: Race, surer: int) -> float:
    """As how many arms at 95 % together so many standard errors count; more where they must be `surer`."""
    return surer * 0.025 / NormalDist().cdf(-race.sure)


def _verdict(race: Race, arm: Arm, step: int, surer: int = 1) -> Trial:
    """What the looks say at this stage; `surer` where these are only the first of them."""
    t, control = race.treatment, race.run.arm((), float(step))
    rows = [[own.answers[0].errors] for own in (control, arm) if own.answers[0]]
    gap = paired(rows[0], rows[1], arms=_arms(race, surer), spread=SPREAD)
    easier = any(key.startswith(EASIER) for key in t.keys)
    owed = HEAD_START if easier and control.error < LEARNED * _chance(race.run.session) else 0.0
    early = race.stage < race.last and any(key.startswith(PENALTY) for key in t.keys)
    owed = max(owed, CLEAR if early or not race.stage else 0.0)
    if gap.low > owed and gap.mean > LEAST:
        return Trial(t, control, arm, gap, True, "ahead of the run itself, beyond noise", step)
    sure = "no more than an easier task gains at first" if gap.better else "not beyond noise"
    reason = f"ahead of the run itself, but {sure}" if gap.mean > 0 else "behind the run itself"
    return Trial(t, control, arm, gap, False, reason, step)


def said(trial: Trial, kept: bool, share: float) -> str:
    """What was decided, in a line."""
    edits = ", ".join(trial.treatment.edits)
    if not kept or trial.difference is None:
        return f"{trial.reason}: {edits}; the run goes on, the race took {share:.0%} of it"
    after = f"after {trial.steps} steps"
    return f"kept {edits}: {trial.difference.said} {after}; the rival goes on as the run"


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
