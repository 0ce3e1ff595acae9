"""The race: a rival of the run, trained beside it from the first step under the remedy.

A fork squeezes the whole schedule into a few steps; of a setting that harms slowly it says
little. Where a setting is far from what is usual, yet the run learns, the run goes on, and its
rival, the run with the usual setting, trains in a folder of its own up to the same share of the
same schedule. Both are judged there on the same validation images, by their present weights and
by a moving average of these (Polyak & Juditsky 1992), which is moved less by chance. The run
itself is the control, so a race costs one arm; and a rival that wins *is* the run from then on,
bit for bit what a restart would have made of it: none of its steps is thrown away.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visus import ledger as book
from visus import training
from visus.api.procedure_treat import BUDGET, PLAIN, restart
from visus.doctor.remedies import Treatment, together
from visus.doctor.trials import LEAST, Answers, Arm, Trial, paired
from visus.errors import NotFiniteError, VisusError
from visus.layers.recalibrate import recalibrate
from visus.ledger import Ledger
from visus.training.automatic import usual_rate
from visus.training.building import make_feed
from visus.training.ema import Average
from visus.training.patient import Stopped, judges, step_cost
from visus.training.session import BEST, RECIPE

FOLDER = "race"  # of the rival, inside the run's
STAGES = ((0.15, 0.18), (0.225, 0.25), (0.28, 0.3))  # shares of the training: marks
JUDGED = 2  # marks, the newest, whose mean judges
FEW, PLAINLY = 200, 10  # images of a first look; how many times surer it must be
MEMORY = 0.02  # how far the moving average looks back, as a share of the training
SPREAD = 0.01  # how far chance moves the difference of two trainings, judged so
HEAD_START = 0.02  # gain that a remedy owes to learning faster at first, where it makes that easier
EASIER = ("jitter", "model.dropout", "loss.label_smoothing")
LATE = ("optimizer.", "regularization.")  # what must be judged near the height of the rate
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


def _marks(stage: int) -> list[float]:
    return [mark for part in STAGES[: stage + 1] for mark in part]


@dataclass
class Look:
    """A runner at a mark: its present weights and their average, and what share of them is wrong.

    At a high rate the present weights are driven about, more so where a setting drives them, and
    chance with them; their average shows where they are driven about. Each has its own norm
    statistics. `wrong` `(n,)` is of the first images that judge, after `closely()` of them all.
    """

    models: list[nn.Module]
    dataset: Any
    chosen: Tensor
    wrong: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def closely(self, most: int | None = None) -> None:
        """Look at what was not looked at yet, up to the first `most` images."""
        rest = self.chosen[len(self.wrong) : most]
        if self.models and len(rest):
            seen = [training.evaluate(m, self.dataset.validation, indices=rest) for m in self.models]  # fmt: skip
            self.wrong = torch.cat([self.wrong, torch.stack([s.errors.double() for s in seen]).mean(0)])  # fmt: skip


@dataclass
class Lane:
    """One runner: its average, and at each mark its step and its look."""

    session: training.Session
    steps: list[int] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    average: Average | None = None

    def reached(self, stage: int) -> bool:
        """Take a step in; look where the next mark of the stages up to this is reached; whether it was the last."""
        session, marks = self.session, _marks(stage)
        self._follow()
        seen = len(self.steps)
        if seen < len(marks) and session.plan.done(session.step) >= marks[seen]:
            assert self.average is not None
            self.steps.append(session.step)
            self.looks.append(_look(session, self.average.model))
            for look in self.looks[:-JUDGED]:
                look.models.clear()
        return self.over(stage)

    def over(self, stage: int) -> bool:
        """Whether all marks up to this stage were seen."""
        return len(self.steps) == len(_marks(stage))

    def _follow(self) -> None:
        """The moving average takes in the present weights."""
        session = self.session
        look_back = max(1.0, MEMORY * session.plan.steps)
        self.average = self.average or Average(session.state.judged, 1.0 - 1.0 / look_back)
        self.average.update(session.step)

    def arm(self, edits: tuple[str, ...], cost: float) -> Arm:
        """As a trial shows it; its answer is the mean of the newest marks."""
        arm, wrong = Arm(edits, cost=cost), [look.wrong for look in self.looks]
        arm.xs, arm.ys = list(self.steps), [float(row.mean()) for row in wrong]
        arm.answers[0] = (
            Answers(torch.stack(wrong[-JUDGED:]).mean(0).tolist(), []) if wrong else None
        )
        return arm


@dataclass
class Race:
    """The run, its rival under the treatment, and the stage of the race."""

    treatment: Treatment
    run: Lane
    rival: Lane | None = None
    stage: int = 0

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
    return Race(first, Lane(session)) if STAGES[0][-1] * session.plan.steps <= left else None


def carry_out(
    race: Race, asked: training.Recipe, kept: list[str], folder: Path, left: float
) -> tuple[Trial | None, float]:  # fmt: skip
    """Run the rival to where the run stands: the trial, and what it cost in steps of the run.

    None where the race is still open and `left`, in steps, allows its next stage. Raises
    `Stopped` where a signal came meanwhile.
    """
    session, t = race.run.session, race.treatment
    try:
        race.rival = _entered(race, asked, kept, folder)
    except VisusError as error:  # a network that cannot be built so
        return _lost(race, f"cannot be tried: {str(error).split(';')[0]}"), 0.0
    rival = race.rival.session
    dear = step_cost(rival) / step_cost(session)
    if race.stage == 0 and STAGES[0][-1] * dear > DEAREST * BUDGET and not _quick(rival):
        return _lost(race, f"not tried: a step of it costs {dear:.0f} of the run's"), 0.0
    broken = _raced(race.rival, race.stage)
    if rival.stopping:
        session.stop(rival.stopping)
        raise Stopped
    cost = rival.step * dear
    if broken:
        return _lost(race, broken), cost
    later = race.stage + 1
    more = later < len(STAGES) and STAGES[later][-1] * session.plan.steps * dear <= left
    # Steps too long lead while they are warmed up, and a penalty takes its time to shrink weights.
    late = any(key.startswith(LATE) for key in t.keys)
    least = LEAST if not late else -SPREAD if race.stage else -inf
    trial = _judged(race, cost, more and least == -inf)
    gain = trial.difference.mean if trial.difference else -inf
    if more and not trial.kept and gain > least:
        race.stage = later
        return None, cost
    return trial, cost


def _entered(race: Race, asked: training.Recipe, kept: list[str], folder: Path) -> Lane:
    """The rival at its start, or where it stood at the end of the stage before."""
    session, place = race.run.session, folder / FOLDER
    if race.rival:
        again = training.Session(None, session.dataset, place, Ledger(place), clock=_clock(session))
        if race.rival.average:
            race.rival.average.follow(again.state.judged)
        return replace(race.rival, session=again)
    leave(folder)
    own = session.recipe.training
    machine = [f"training.threads={own.threads}", f"training.precision={own.precision}"]
    recipe = asked.edited([*machine, *kept, *race.treatment.edits, *shared(race, asked)])
    ledger = Ledger(_made(place))
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


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _quick(rival: training.Session) -> bool:
    """Whether the race takes some seconds only: then a step may cost many of the run's."""
    epochs = rival.recipe.training.epochs
    steps = rival.feed.per_epoch * (epochs if isinstance(epochs, int) else 20) * STAGES[0][-1]
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


def _look(session: training.Session, average: nn.Module) -> Look:
    """The two models as they are now, and a first look at them."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        models = [copy.deepcopy(session.state.judged), copy.deepcopy(average)]
        if session.feed.batch_size >= 16:
            feed = make_feed(session.recipe, session.dataset, session.device)
            for model in models:
                recalibrate(model, (feed(step) for step in range(4)))
        look = Look(models, session.dataset, judges(session.dataset, session.recipe.seed))
        look.closely(FEW)
    return look


def _chance(session: training.Session) -> float:
    """The error of always saying the largest class of validation; infinite where there are none."""
    targets = session.dataset.validation.targets
    if targets.ndim != 1 or targets.is_floating_point():
        return inf
    return 1.0 - float(torch.unique(targets, return_counts=True)[1].max()) / len(targets)


def _judged(race: Race, cost: float, goes_on: bool) -> Trial:
    """By the first images where these are plain, else by all of them.

    `goes_on`: what is not kept has a later stage in any case, so that less than a lead is not
    looked at closely.
    """
    assert race.rival is not None
    step, edits = race.run.session.step, race.treatment.edits
    trial = _verdict(race, race.rival.arm(edits, cost), step, PLAINLY * len(STAGES))
    gap = trial.difference
    if trial.kept or (gap and (gap.worse or (goes_on and gap.mean <= LEAST))):
        return trial
    for look in (*race.run.looks[-JUDGED:], *race.rival.looks[-JUDGED:]):
        look.closely()
    return _verdict(race, race.rival.arm(edits, cost), step, len(STAGES))


def _verdict(race: Race, arm: Arm, step: int, looks: int) -> Trial:
    """What one of so many `looks` says, each of which costs confidence."""
    t, control = race.treatment, race.run.arm((), float(step))
    rows = [[own.answers[0].errors] for own in (control, arm) if own.answers[0]]
    gap = paired(rows[0], rows[1], arms=looks, spread=SPREAD)
    easier = any(key.startswith(EASIER) for key in t.keys)
    owed = HEAD_START if easier and control.error < LEARNED * _chance(race.run.session) else 0.0
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
