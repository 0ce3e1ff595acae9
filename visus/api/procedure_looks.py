"""Looks at the runners of a race: at marks of the training, how many validation images each gets wrong.

A mark keeps copies of the weights; nothing is looked at before somebody asks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from visus import training
from visus.doctor.trials import Answers, Arm
from visus.layers.recalibrate import recalibrate
from visus.training.building import make_feed
from visus.training.ema import Average
from visus.training.patient import judges
from visus.training.seeds import apart

STAGES = ((0.1,), (0.15, 0.18), (0.28, 0.3), (0.42, 0.45))  # shares of the training: marks
YOUNG = 0.2  # share until which present weights judge beside their average
JUDGED = 2  # marks, the newest, whose mean judges
FRESHENED = 4  # batches of which the norms take their statistics, before a look
MEMORY = 0.02  # how far the moving average looks back, as a share of the training


def _marks(stage: int) -> list[float]:
    return [mark for part in STAGES[: stage + 1] for mark in part]


@dataclass
class Look:
    """A runner at a mark: the average of its weights, at early marks its present ones too, and what share is wrong.

    At a high rate the present weights are driven about, more so where a setting drives them, and
    chance with them; their average shows where they are driven about, as a rate that has come
    down would. While they still travel, it lags behind. Each has its own norm statistics. `wrong` `(n,)` is of the first images that judge, as far as `closely()` has looked.
    """

    session: training.Session
    models: list[nn.Module]
    chosen: Tensor
    wrong: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def closely(self, most: int | None = None) -> None:
        """Look at what was not looked at yet, up to the first `most` images."""
        rest, held = self.chosen[len(self.wrong) : most], self.session.dataset.validation
        if not self.models or not len(rest):
            return
        world = self.session.world
        if not len(self.wrong) and world.main:
            _freshen(self.models, self.session)
        more = self._asked(rest, held) if world.main else []
        self.wrong = torch.cat([self.wrong, torch.tensor(world.agree(more), dtype=torch.float64)])

    def _asked(self, rows: Tensor, held: Any) -> list[float]:
        """The share of the models that is wrong, by image."""
        seen = [training.evaluate(m, held, indices=rows) for m in self.models]
        return torch.stack([s.errors.double() for s in seen]).mean(0).tolist()


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
            young = [session.state.judged] if marks[seen] < YOUNG else []
            self.looks.append(_look(session, [*young, self.average.model]))
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
        """As a trial shows it; its answer is the mean of the newest marks that were looked at."""
        seen = [(n, x.wrong) for n, x in zip(self.steps, self.looks, strict=True) if len(x.wrong)]
        arm, newest = Arm(edits, cost=cost), [x.wrong for x in self.looks[-JUDGED:]]
        arm.xs, arm.ys = [n for n, _ in seen], [float(row.mean()) for _, row in seen]
        newest = [row for row in newest if len(row) == len(newest[-1]) > 0]
        arm.answers[0] = Answers(torch.stack(newest).mean(0).tolist(), []) if newest else None
        return arm


def _look(session: training.Session, models: list[nn.Module]) -> Look:
    """The models as they are now, not looked at yet."""
    return Look(
        session, [copy.deepcopy(m) for m in models], judges(session.dataset, session.recipe.seed)
    )


def _freshen(models: list[nn.Module], session: training.Session) -> None:
    """Norm statistics of the very weights, but of small batches, whose poor ones are to be seen."""
    if session.feed.batch_size < 16:
        return
    with apart():
        feed = make_feed(session.recipe, session.dataset, session.device)
        for model in models:
            recalibrate(model, (feed(step) for step in range(FRESHENED)))
