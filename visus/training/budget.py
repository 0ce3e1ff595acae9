"""Keeping to the time limit: what is left, what the ending needs, what still fits."""

from __future__ import annotations

import time

from visus.training.judge import Judge
from visus.training.plan import MOST_EPOCHS, Clock, Plan, fit, refit


class Budget:
    """The seconds of a run: `limit` in all (None: no limit), of which `clock()` are spent.

    `pace` is seconds a step, as last measured. The ending of a run, its last evaluation and the
    look at the vault, is held in reserve.
    """

    def __init__(self, limit: float | None, clock: Clock, judge: Judge, vault: int):
        self.limit, self.clock, self.judge = limit, clock, judge
        self.share = 1 + vault / max(1, judge.images)
        self.pace = 0.0

    def reserve(self) -> float:
        """Seconds to keep for the ending: evaluation, vault, files."""
        assert self.limit is not None
        return min(
            1.2 * self.judge.seconds * self.share + min(2.0, 0.05 * self.limit), self.limit / 2
        )

    def left(self) -> float:
        """Seconds for steps and evaluations before the ending."""
        assert self.limit is not None
        return max(0.0, self.limit - self.clock() - self.reserve())

    def over(self) -> bool:
        """Whether only the reserve is left."""
        return self.limit is not None and self.left() <= 0.0

    def due(self, since: float) -> bool:
        """Whether a twentieth of the limit has gone by since the pace was measured."""
        return self.limit is not None and time.monotonic() - since > self.limit / 20

    def plan(self, per_epoch: int, wish: int | None) -> tuple[Plan, str]:
        """The first plan, and the reason for its length."""
        if self.limit is None:
            assert wish is not None
            return Plan(wish * per_epoch, per_epoch, wish * per_epoch), "epochs of the recipe"
        count = fit(per_epoch, wish, self.left(), self.pace, self.judge.seconds)
        pace = f"{self.pace:.2f} s" if self.pace >= 1 else f"{1000 * self.pace:.3g} ms"
        fits = f"fits {self.left():.0f} s at {pace} a step"
        return Plan(count, per_epoch, per_epoch * (wish or MOST_EPOCHS)), fits

    def replan(self, plan: Plan, step: int) -> Plan:
        """The plan, shortened where the machine turned out slower, prolonged where quicker."""
        if self.limit is None or step >= plan.steps:
            return plan
        return refit(plan, step, self.left(), self.pace, self.judge.seconds)
