"""The trial: from one snapshot, a control and treated forks, the same data, the same seeds.

The first seed runs every arm, the next seeds the control and the leader alone, as long as it
is close. A fork that breaks, or is hopeless at half its way, is abandoned. A remedy is kept
where the interval of the paired difference on validation lies above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from visus.doctor.remedies.treatment import Treatment
from visus.doctor.trials.compare import SPREAD, Difference, paired
from visus.doctor.trials.patient import Answers, Patient
from visus.errors import NotFiniteError, VisusError

LEAST = 0.005  # a gain below half a point is not worth a change of the recipe
HOPELESS = 0.1  # worse than the control by this at half the way: abandoned
PARTS = 2  # points of a trial's curve, at most
PLAIN = 0.15  # a gain whose whole interval lies above this needs no rivals


@dataclass
class Arm:
    """One fork, over its seeds: its curve (of the first seed), answers, cost in steps."""

    edits: tuple[str, ...]
    prior: float = 0.0
    xs: list[int] = field(default_factory=list)
    ys: list[float] = field(default_factory=list)
    answers: dict[int, Answers | None] = field(default_factory=dict)
    cost: float = 0.0
    ended: str = ""

    @property
    def error(self) -> float:
        """Mean validation error at the end of the fork over its seeds; 1 where it did not get there."""
        found = [a.error if a else 1.0 for a in self.answers.values()]
        return sum(found) / len(found) if found else 1.0

    @property
    def loss(self) -> float:
        """Mean validation loss at the end; infinite where it did not get there."""
        found = [a.loss if a else inf for a in self.answers.values()]
        return sum(found) / len(found) if found else inf

    @property
    def arrived(self) -> bool:
        """Whether the fork of the first seed came to its end."""
        return self.answers.get(0) is not None

    def wrong(self, seed: int, n: int) -> Sequence[float]:
        """By image, 1.0 for a wrong answer; a fork that broke answers nothing right."""
        found = self.answers.get(seed)
        return found.errors if found else [1.0] * n


@dataclass
class Trial:
    """A treatment beside its control: what came out, and whether it is kept."""

    treatment: Treatment
    control: Arm
    treated: Arm
    difference: Difference | None
    kept: bool
    reason: str
    steps: int

    def line(self) -> dict[str, Any]:
        """The ledger's `trial` line."""
        t, gap = self.treatment, self.difference
        return {
            "remedy": t.name, "title": t.title, "edits": list(t.edits), "fresh": t.fresh, "why": t.why,
            "findings": list(t.findings), "kept": self.kept, "reason": self.reason, "steps": self.steps,
            "seeds": gap.seeds if gap else 0, "cost_steps": round(self.treated.cost, 1),
            "control_error": self.control.error, "treated_error": self.treated.error if self.treated.arrived else None,
            "effect": gap.mean if gap else None, "interval": [gap.low, gap.high] if gap else None,
            "n": gap.n if gap else 0, "measure": "validation error",
            "control": {"x": self.control.xs, "y": self.control.ys},
            "treatment": {"x": self.treated.xs, "y": self.treated.ys},
        }  # fmt: skip


class Contest:
    """Runs the arms within `budget` steps; `spent` are the steps used."""

    def __init__(
        self, patient: Patient, steps: int, seeds: int, budget: float, spread: float,
        late: Callable[[], bool],
    ):  # fmt: skip
        self.patient, self.steps, self.seeds = patient, steps, seeds
        self.budget, self.spread, self.late = budget, spread, late
        self.snapshot, self.spent = patient.snapshot(), 0.0

    def arm(self, arm: Arm, seed: int, rival: Arm | None = None) -> None:
        """Run one fork for one seed; a broken or hopeless one is left with the reason."""
        patient, before = self.patient, arm.cost
        arm.answers[seed] = None
        each, done, parts = 1.0, 0, min(PARTS, self.steps)
        try:
            patient.restore(self.snapshot, seed, self.steps)
            patient.apply(arm.edits)
            each = patient.cost()
            for part in range(1, parts + 1):
                until = self.steps * part // parts
                patient.run(until - done)
                arm.cost += (until - done) * each
                done = until
                if part < parts and self.late():
                    arm.ended = f"left after {done} steps: the time was spent"
                    return
                self._note(arm, seed, done, part == parts)
                if part == -(-parts // 2) and rival is not None and _hopeless(arm, rival):
                    arm.ended = f"abandoned after {done} steps: far behind the control"
                    return
        except NotFiniteError as error:
            arm.cost += each
            arm.ended = f"broke after step {done}: {str(error).split(';')[0]}"
        except VisusError as error:  # a network that cannot be built so
            arm.ended = f"cannot be tried: {str(error).split(';')[0]}"
        finally:
            self.spent += arm.cost - before

    def _note(self, arm: Arm, seed: int, step: int, last: bool) -> None:
        found = Answers(*self.patient.evaluate(few=not last))
        if last:
            arm.answers[seed] = found
        if seed == 0:
            arm.xs.append(step)
            arm.ys.append(found.error)

    def affords(self, treatment_cost: float = 1.0) -> bool:
        """Whether one more fork fits the budget."""
        return not self.late() and self.spent + self.steps * treatment_cost <= self.budget


def _hopeless(arm: Arm, rival: Arm) -> bool:
    same = dict(zip(rival.xs, rival.ys, strict=True)).get(arm.xs[-1])
    return same is not None and arm.ys[-1] > same + HOPELESS


def trial(
    patient: Patient, treatment: Treatment, *, steps: int, seeds: int = 3, budget: float = float("inf")
) -> Trial:  # fmt: skip
    """Try one treatment against a control that simply continues; see `contest`."""
    return contest(patient, [treatment], steps=steps, seeds=seeds, budget=budget)[0][0]


def contest(
    patient: Patient, treatments: Sequence[Treatment], *, steps: int, seeds: int = 3,
    budget: float = float("inf"), spread: float = SPREAD, late: Callable[[], bool] = lambda: False,
) -> tuple[list[Trial], float]:  # fmt: skip
    """Try `treatments` against one control: the trials (at most one kept) and the steps spent.

    `steps` is the length of a fork, `seeds` the most seeds, `budget` the most steps in all, in
    steps of the untreated training; treatments that no longer fit are not tried, and say so, and
    none after one that is better by far but its rivals: they stand in the order of what speaks
    for them.
    `spread` is how far the luck of a seed moves the error of such a fork. `late()` says that the
    time is spent, whatever the budget holds.
    """
    ring = Contest(patient, steps, seeds, budget, spread, late)
    control = Arm(())
    ring.arm(control, 0)
    arms = [Arm(t.edits, t.prior) for t in treatments]
    found: Treatment | None = None
    for arm, treatment in zip(arms, treatments, strict=True):
        needless = found is not None and treatment not in found.rivals(treatments)
        if needless or not ring.affords():
            arm.ended = f"not tried: {'a remedy was found' if needless else 'the budget was spent'}"
            continue
        ring.arm(arm, 0, control)
        if arm.arrived and _difference(control, arm, len(arms), spread).low > PLAIN:
            found = found or treatment
    leader, run = _leader(arms), sum(bool(arm.answers) for arm in arms)
    gap = _settle(ring, control, leader, run) if leader else None
    pairs = zip(treatments, arms, strict=True)
    return [_verdict(ring, t, control, arm, leader, gap, run) for t, arm in pairs], ring.spent


def _leader(arms: Sequence[Arm]) -> Arm | None:
    """The arm with the least error. Where they are close: what the chart speaks for, fewer edits."""
    whole = [arm for arm in arms if arm.arrived]
    rank = lambda arm: (arm.error + 0.002 * len(arm.edits) - 0.02 * arm.prior, arm.loss)  # noqa: E731
    return min(whole, key=rank, default=None)


def _settle(ring: Contest, control: Arm, leader: Arm, arms: int) -> Difference:
    """More seeds for the leader, until it is clear or the budget is spent."""
    gap = _difference(control, leader, arms, ring.spread)
    for seed in range(1, ring.seeds):
        close = gap.mean > LEAST and not gap.better
        if not close or not ring.affords(2.0):
            break
        ring.arm(control, seed)
        ring.arm(leader, seed)
        gap = _difference(control, leader, arms, ring.spread)
    return gap


def _difference(control: Arm, arm: Arm, arms: int, spread: float) -> Difference:
    """Paired over the seeds; a control that broke is wrong throughout."""
    first = arm.answers[0]
    n = len(first.errors) if first else 0
    own = [control.wrong(seed, n) for seed in arm.answers]
    return paired(own, [arm.wrong(seed, n) for seed in arm.answers], arms=arms, spread=spread)


def _verdict(
    ring: Contest, t: Treatment, control: Arm, arm: Arm, leader: Arm | None, gap: Difference | None, arms: int
) -> Trial:  # fmt: skip
    steps = ring.steps
    if not arm.arrived:
        return Trial(t, control, arm, None, False, arm.ended, steps)
    first = arm is leader and gap is not None
    gap = gap if first and gap else _difference(control, arm, arms, ring.spread)
    kept = first and gap.better and gap.mean > LEAST
    if kept:
        reason = "better than the control beyond noise"
    elif not gap.better:
        reason = "no better than the control beyond noise"
    else:
        reason = "better than the control, but another remedy was better still"
    return Trial(t, control, arm, gap, kept, reason, steps)
