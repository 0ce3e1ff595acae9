"""A case: one run from its first step to its last, with the doctor at it.

    case = Case(folder, ledger, asked, dataset)
    session = case.carry_out()      # trained, treated where a trial proved it; finished or stopped

What was decided is in the ledger, so a run that is killed and resumed decides nothing twice and
ends with the weights of the run that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from visus import ledger as book
from visus import training
from visus.api import procedure_checks as checks
from visus.api import procedure_race as racing
from visus.api import procedure_statistics as exact
from visus.api import procedure_treat as treating
from visus.api.procedure_reading import DIVISION, LAST, SURE, Reading, watched
from visus.api.procedure_watch import Watch, call, fell
from visus.doctor.trials import Trial
from visus.errors import NotFiniteError
from visus.ledger import Line
from visus.training.session import RECIPE
from visus.training.signals import on_signal

ROUNDS = 3  # times a run is treated at most
ODD = 0.7  # how odd a setting must be to be tried on living weights without any finding
EARLY, MIDWAY = 0.3, 0.45  # shares of the run at which errors are read: for wrong labels, for all
CHECKED = 0.05  # share of a time limit that the check with one batch may take
LATER = 0.08  # share of the run's steps kept for that, where the first steps learn at all


@dataclass
class Case(Reading):
    """`cure`: "on" or "off"; `ask(trial)`, where given, says whether to keep what a trial proved."""

    cure: str = "on"
    ask: Callable[[Line], bool] | None = None
    clock: training.Clock = field(default_factory=training.Clock)
    race: racing.Race | None = None  # that runs now

    def carry_out(self) -> training.Session:
        """Train to the end, or until the run is told to stop."""
        while True:
            session = self._open()
            if not self._examined(session):
                self._statistics(session)
                return session

    # Opening.

    def _open(self) -> training.Session:
        past = self.past
        kept = treating.edits(past)
        if treating.unfinished(past):
            self._restart(kept)
        elif kept and self._held():
            self.agreed(lambda: treating.rewrite(self.folder, kept))
        session = self._session(kept)
        if self.cure != "off" and self._half_seen(session):
            why = "what is watched is watched as a whole"
            self.agreed(lambda: treating.restart(self.folder, self.ledger, why))
            session = self._session(kept)
        if session.step == 0 and not session.plan.steps:
            self._before(session)
        return session

    def _restart(self, kept: list[str]) -> None:
        """Begin again under the kept remedies; where a rival has won a race, from where it stands."""
        lines = self.past
        won = [n for n, line in enumerate(lines) if line["kind"] == "trial" and line.get("kept")][
            -1
        ]
        why = "starts again with " + ", ".join(kept)
        there = (self.folder / racing.FOLDER).glob("checkpoint-*.json")
        if not lines[won].get("race") or not self.agreed(lambda: any(there)):
            self.agreed(lambda: treating.restart(self.folder, self.ledger, why))
            return
        seen = {line["name"]: line for line in book.select(lines, "stage")}
        told = [{k: v for k, v in seen[name].items() if k not in ("kind", "t")} | {"evidence": {}, "again": True} for name in ("first steps", "race") if name in seen]  # fmt: skip
        why = "goes on as its rival, with " + ", ".join(kept)
        self.agreed(lambda: racing.adopt(self.folder, self.ledger, why, told))

    def _half_seen(self, session: training.Session) -> bool:
        """Whether the run was left in the midst of what must be watched as a whole."""
        first = self.done("first steps")
        if first is None:
            return 0 < session.step <= watched(session)
        return bool(first["evidence"].get("rival")) and self.done("race") is None

    def _session(self, kept: list[str]) -> training.Session:
        # A run that goes on takes the recipe of its folder, where every "auto" has its value.
        recipe = None if self._held() else self.asked.edited(kept) if kept else self.asked
        closing = exact.images(self.dataset) if self.cure != "off" else 0
        return training.Session(
            recipe, self.dataset, self.folder, self.ledger, model=self.network, clock=self.clock, closing=closing
        )  # fmt: skip

    def _held(self) -> bool:
        """Whether the run has a recipe of its own already."""
        return self.agreed((self.folder / RECIPE).exists)

    def _before(self, session: training.Session) -> None:
        """The checks of fresh weights; the second takes four times as long as the first."""
        began = time.monotonic()
        self.stage("first weights", *checks.first_weights(session), began)
        step, began = self.world.agree(time.monotonic() - began), time.monotonic()
        if session.budget.limit:
            session.budget.pace = step * max(1.0, session.feed.batch_size / checks.SEEN)
        seconds = 4 * step
        if treating.edits(self.past):
            self.stage("one batch", "left out: a trial has shown what it learns", {}, began)
            return
        if self.agreed(lambda: session.budget.affords(seconds, CHECKED)):
            self.stage("one batch", *checks.one_batch(session), began)
            return
        said = f"left out: it would take about {seconds:.0f} of {session.budget.limit:.0f} s"
        self.stage("one batch", said, {}, began)

    # The loop, and the two moments at which it is examined.

    def _examined(self, session: training.Session) -> bool:
        """Train; True where a remedy was kept and the run is to be opened anew."""
        loop = session.run()
        try:
            if session.step and (self._midway_again(session) or self._rejudged(session)):
                return True
            if self._first_steps(session, loop):
                loop.close()
                return True
            for _ in loop:
                if self.race and self.race.reached() and self._raced(session):
                    loop.close()
                    return True
                if (self._midway_due(session) and self._midway(session)) or self._rejudged(session):
                    loop.close()
                    return True
        except treating.Stopped:
            loop.close()
        except NotFiniteError as error:
            return self._broken(session, error)
        return False

    def _first_steps(self, session: training.Session, loop: Any) -> bool:
        """Watch the first steps and treat what they show."""
        if self.done("first steps") or session.step:
            return False
        began, watch, losses = time.monotonic(), Watch(), []
        broken = ""
        try:
            step = next(loop, None)
            if step is None:
                return False
            last = watched(session)
            if not last:
                self.stage("first steps", f"a run of {session.plan.steps} steps is too short to be examined", {}, began)  # fmt: skip
                return False
            losses.append(step.loss)
            with watch.watching() if self.world.main else nullcontext():
                while session.step < last and (step := next(loop, None)) is not None:
                    losses.append(step.loss)
            if session.step < last:
                return False
        except NotFiniteError as error:
            if not watched(session):
                raise
            broken = str(error).split(";")[0]
        return self._judge_first(session, watch, losses, broken, began)

    def _judge_first(
        self, session: training.Session, watch: Watch, losses: list[float], broken: str, began: float
    ) -> bool:  # fmt: skip
        found = self.agreed(watch.findings)
        self.findings(found)
        seen, least = self.checks(), checks.least_loss(session)
        symptoms, sick = call(found, losses, seen, broken, least)
        evidence: dict[str, Any] = {"losses": {"x": list(range(1, len(losses) + 1)), "y": losses}}
        evidence |= {f"finding {name}": value for name, value in symptoms.items()}
        stuck = not fell(losses, seen.get("baseline", {}).get("chance_loss"), least)
        if not sick and self._race_begins(session, symptoms, evidence, began):
            return False
        later = 0.0 if sick or stuck else LATER
        kept = self._treat("first steps", session, symptoms, evidence, sick, began, later=later)
        if broken and not kept:
            raise NotFiniteError(broken + "; no remedy that was tried helped; lower the rate with --set optimizer.rate")  # fmt: skip
        return kept

    def _race_begins(
        self, session: training.Session, symptoms: dict[str, float], evidence: dict[str, Any], began: float
    ) -> bool:  # fmt: skip
        """Whether a rival is to run: nothing is wrong yet, but a setting is far from what is usual."""
        past = self.past
        rounds = sum(1 for line in book.select(past, "trial") if line.get("kept"))
        if self.cure == "off" or rounds >= ROUNDS or self.network is not None or len(self.dataset.validation) < 20:  # fmt: skip
            return False
        found, _ = treating.called(session, self.asked, past, symptoms, {}, False, SURE, None)
        left = racing.SHARE * session.plan.steps - treating.spent(past)
        self.race = racing.planned(session, found, left)
        if self.race is None:
            return False
        evidence["rival"] = ", ".join(self.race.treatment.edits)
        evidence["steps_spent"] = 0.0
        self.stage("first steps", f"a rival with {evidence['rival']} is to show whether the run could learn better", evidence, began)  # fmt: skip
        return True

    def _raced(self, session: training.Session) -> bool:
        """The rival runs to where the run stands; True where it takes its place."""
        race, began, past = self.race, time.monotonic(), self.past
        assert race is not None
        left = racing.SHARE * session.plan.steps - treating.spent(past)
        kept = treating.edits(past)
        trial, cost = racing.carry_out(race, self.asked, kept, self.folder, left)
        if trial is None:
            session.back(began)
            return False  # still open: its next stage is due later
        self.race = None
        shared = racing.shared(race, self.asked)
        won = treating.record(session, self.ledger, [trial], cost, self.ask, race=True, shared=shared) is not None  # fmt: skip
        decided = racing.said(trial, won, cost / session.plan.steps)
        self.stage("race", decided, {"steps_spent": float(session.step) if won else cost}, began)
        if not won:
            self.agreed(lambda: racing.leave(self.folder))
            session.back(began)
        return won

    def _treat(
        self, name: str, session: training.Session, symptoms: dict[str, float], evidence: dict[str, Any],
        sick: bool, began: float, *, live: bool = False, facts: dict[str, Any] | None = None, least: float = SURE,
        later: float = 0.0, otherwise: str = "",
    ) -> bool:  # fmt: skip
        """Trials for what was found, and the stage's line; True where a remedy was kept."""
        past, tried = self.past, time.monotonic()
        rounds = sum(1 for line in book.select(past, "trial") if line.get("kept"))
        kept: Trial | None = None
        decided = (
            "treatment is switched off" if self.cure == "off" else f"{rounds} remedies are enough"
        )
        if self.cure != "off" and rounds < ROUNDS and len(self.dataset.validation) >= 20:
            kept, decided = treating.treat(
                session, self.asked, self.ledger, past, findings=symptoms, facts=facts or {},
                least=0.25 if sick else least, live=live, network=self.network, ask=self.ask,
                later=later,
            )  # fmt: skip
        if otherwise and self.past[len(past) :] == []:
            decided = otherwise  # nothing was tried
        evidence["steps_spent"] = self._cost(past, session if kept and not live else None)
        self.stage(name, decided, evidence, began)
        if kept is None and name != "broken":
            session.back(tried)  # what went before, the steps that were watched, were steps
        return kept is not None

    def _cost(self, past: list[Line], lost: training.Session | None) -> float:
        """Steps that this treatment cost: its forks, and what a restart throws away."""
        new = book.select(self.past[len(past) :], "trial")
        return (new[0]["round_steps"] if new else 0.0) + (lost.step if lost else 0)

    # Midway, and where the loss breaks.

    def _midway_due(self, session: training.Session) -> bool:
        if session.step % session.plan.per_epoch or self.race:
            return False
        share = session.plan.done(session.step)
        if not EARLY <= share < LAST or not watched(session) or self.done("late"):
            return False
        if self.done("midway"):
            return bool(self.news())
        if share >= MIDWAY:
            return True
        # Wrong labels cost more with every epoch that learns them: judged as soon as they are sure.
        return "label-noise" in self.read(session)[1]

    def _midway_again(self, session: training.Session) -> bool:
        """A run that goes on where it was left in its midway decides it there, not an epoch later."""
        name, lines = self._moment(), self._attempt()
        since = max((n for n, x in enumerate(lines) if x.get("name") == "midway"), default=0)
        trials = [x for x in book.select(lines[since:], "trial") if x["live"] and x["at"] == session.step]  # fmt: skip
        if trials and not self.done(name):  # left between what was decided and the stage's line
            said = {"steps_spent": trials[0]["round_steps"]}
            self.stage(name, "decided before the run was left", said, time.monotonic())
        with on_signal(session.stop):
            return self._midway_due(session) and self._midway(session)

    def _moment(self) -> str:
        """The reading that is due: midway, and once again later, where the errors say something new."""
        return "late" if self.done("midway") else "midway"

    def _midway(self, session: training.Session) -> bool:
        """Read the errors of the epochs so far, and treat the living state."""
        began, name = time.monotonic(), self._moment()
        decided, symptoms, evidence = self.diagnosed(session)
        if (
            not symptoms or DIVISION in symptoms
        ):  # still, a setting far from what is usual may harm in ways that show late
            return self._treat(name, session, {}, evidence, False, began, live=True, least=ODD, otherwise=decided)  # fmt: skip
        evidence["read"] = decided
        facts: dict[str, Any] = {}
        if "label-noise" in symptoms:
            seen = self._suspects(session)
            facts |= {"suspects": seen.names, "precision": seen.precision}
            evidence |= {
                "suspected labels": len(seen.names),
                "likely wrong of these": seen.precision,
            }
        return self._treat(name, session, symptoms, evidence, False, began, live=True, facts=facts)

    def _statistics(self, session: training.Session) -> None:
        """Exact statistics for the norms of the finished model, where they prove better."""
        due = session.finished and not self.done("statistics")
        if not due or self.cure == "off" or len(self.dataset.validation) < 20 or not exact.concerned(session.model):  # fmt: skip
            return
        began = time.monotonic()
        if (count := self.agreed(lambda: exact.affordable(session))) < exact.FEW:
            self.stage("statistics", f"left out: the time left is enough for {count} images", {}, began)  # fmt: skip
            return
        # By all ranks: a norm of the user's may take its moments over them. The first decides.
        trial, model = exact.tried(session, count)
        trial.kept = self.agreed(lambda: trial.kept)
        if trial.kept:
            treating.record(session, self.ledger, [trial], 0.0, self.ask, live=True)
        if trial.kept:  # still, where someone was asked
            session.exchange(model, trial.treated.error)
        self.stage("statistics", exact.said(trial), {"steps_spent": 0.0}, began)

    def _broken(self, session: training.Session, error: NotFiniteError) -> bool:
        """The loss broke on the way: treat the last state that is kept, or give up."""
        if self.cure == "off" or not watched(session):
            raise error
        began, said = time.monotonic(), str(error).split(";")[0]
        again = self._session([])  # from its last checkpoint
        symptoms = {"loss-not-finite": 0.95}
        evidence: dict[str, Any] = {"step": session.step, "error": said}
        live = again.step > 0
        if not self._treat("broken", again, symptoms, evidence, True, began, live=live):
            raise error
        return True
