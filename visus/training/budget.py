"""Keeping to the time limit: what is left, what the ending needs, what still fits."""

from __future__ import annotations

import time

from visus.training.judge import Judge
from visus.training.plan import MOST_EPOCHS, Clock, Plan, fit, refit

WRITING = 0.08, 3.0  # of the ending: files and report, as a share of the limit, and seconds at most
CLOSING = (
    0.08  # share of the limit that what follows the training may take, beside the look at test
)
JUDGING = 0.06  # share of the limit that an evaluation may take


class Budget:
    """The seconds of a run: `limit` in all (None: no limit), of which `clock()` are spent.

    `pace` is seconds a step, as last measured. The ending is held in reserve: the last evaluation,
    the look at the `vault`, and `closing` images, as many as fit, that are looked at between them.
    """

    def __init__(
        self, limit: float | None, clock: Clock, judge: Judge, vault: int, closing: int = 0
    ):  # fmt: skip
        self.limit, self.clock, self.judge = limit, clock, judge
        self.vault, self.images = vault, closing
        self.pace = 0.0

    def closing(self) -> int:
        """How many images the closing statistics may look at."""
        if self.limit is None:
            return self.images
        return min(self.images, int(CLOSING * self.limit / max(1e-9, self.judge.each)))

    def reserve(self) -> float:
        """Seconds to keep for the ending: evaluation, closing statistics, vault, files."""
        assert self.limit is not None
        seen = self.judge.seconds + self.judge.each * (self.vault + self.closing())
        return 1.1 * seen + min(WRITING[0] * self.limit, WRITING[1])

    def left(self) -> float:
        """Seconds for steps and evaluations before the ending."""
        assert self.limit is not None
        return max(0.0, self.limit - self.clock() - self.reserve())

    def over(self) -> bool:
        """Whether only the reserve is left."""
        return self.limit is not None and self.left() <= 0.0

    def affords(self, seconds: float, share: float) -> bool:
        """Whether what takes `seconds` stays within a share of the limit."""
        return self.limit is None or seconds <= share * self.limit

    def due(self, since: float) -> bool:
        """Whether a twentieth of the limit has gone by since the pace was measured."""
        return self.limit is not None and time.monotonic() - since > self.limit / 20

    def plan(self, per_epoch: int, wish: int | None) -> tuple[Plan, str]:
        """The first plan, and the reason for its length."""
        if self.limit is None:
            assert wish is not None
            return Plan(wish * per_epoch, per_epoch, wish * per_epoch), "epochs of the recipe"
        left = self.left()
        count = fit(per_epoch, wish, left, self.pace, self.judge.seconds)
        pace = f"{self.pace:.2f} s" if self.pace >= 1 else f"{1000 * self.pace:.3g} ms"
        fits = f"fits {left:.0f} s at {pace} a step"
        if left < self.limit / 2:  # why so few
            fits += f": getting ready took {self.clock():.0f} of {self.limit:.0f} s, the ending needs {self.reserve():.0f}"
        return Plan(count, per_epoch, per_epoch * (wish or MOST_EPOCHS)), fits

    def replan(self, plan: Plan, step: int) -> Plan:
        """The plan, shortened where the machine turned out slower, prolonged where quicker."""
        if self.limit is None or step >= plan.steps:
            return plan
        return refit(plan, step, self.left(), self.pace, self.judge.seconds)
