"""A session as a patient: its training is forked from the first step, or from where it stands.

A step is a function of (seed, step), so a fork is built anew from recipe and data and shares
nothing with the session but the images: neither its weights nor its ledger, checkpoints or
generators can be touched. Of several ranks each takes its part of a fork's batches, as of the
session's; the first answers for all. A fork of k steps goes through the whole of the schedule that is left,
in k steps: what it ends with is judged with a rate that has come down, as a run is, and the
moving average looks back as much less. Penalties stay as they are: made stronger so that k steps
shrink the weights as T would, they proved remedies that the run itself did not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from visus.layers.recalibrate import recalibrate
from visus.models import summary, total_flops
from visus.training.automatic import settle, usual_rate
from visus.training.building import make_classifier, make_feed, make_state, settle_layout
from visus.training.checkpoint import clones
from visus.training.evaluate import evaluate
from visus.training.plan import rate_of
from visus.training.recipe import Recipe
from visus.training.seeds import apart, mix
from visus.training.session import Session
from visus.training.steps import steps

MOST, FEW = 2000, 128  # validation images that a fork is judged by, at its end and on its way
FRESH = (
    300  # and at the end of a fork of fresh weights, whose luck moves its error more than these do
)
_DRAW = -7  # the "step" from which the choice of these images draws


def judges(dataset: Any, seed: int) -> Tensor:
    """Which validation images judge a fork: always the same ones."""
    draw = torch.Generator().manual_seed(mix(seed, _DRAW))
    return torch.randperm(len(dataset.validation), generator=draw)[:MOST]


def operations(recipe: Recipe, network: nn.Module, dataset: Any) -> float:
    """Operations of a step's forward pass."""
    rows = summary(network, dataset.channels, tuple(dataset.size))
    return float(max(1, total_flops(rows)) * int(recipe.training.batch_size))


def step_cost(session: Session) -> float:
    """Operations of the forward pass of a step of a session."""
    return operations(session.recipe, session.model.network, session.dataset)  # type: ignore[arg-type]


class Stopped(Exception):
    """The session was told to stop while a fork ran."""


@dataclass(frozen=True)
class Held:
    """Where forks begin: nothing held is the first step, else tensors and facts of a state."""

    tensors: dict[str, Tensor] | None
    facts: dict[str, Any] | None
    done: float


class SessionPatient:
    """Forks of a session that has its plan. `live` forks from where it stands, else from step 0.

    `asked` is the recipe before anything was settled: what is "auto" there is chosen anew for a
    treated fork. `network` is the caller's module, where one is trained.
    """

    def __init__(
        self, session: Session, asked: Recipe, *, live: bool = False, network: nn.Module | None = None
    ):  # fmt: skip
        self.session, self.dataset, self.device = session, session.dataset, session.device
        self.settled, self.asked, self.network = session.recipe, asked, network
        self.steps, self.live = max(1, session.plan.steps), live
        self.fresh_names = session.fresh
        state, done = session.state, session.plan.done(session.state.step)
        self.held = Held(clones(state.tensors()), state.facts(), done) if live else Held(None, None, 0.0)  # fmt: skip
        self.sample = judges(self.dataset, session.recipe.seed)
        self.plain = step_cost(session)
        self.fork: Any = None

    # The protocol of a patient.

    def snapshot(self) -> Held:
        """Where forks begin."""
        return self.held

    def restore(self, snapshot: Held, seed: int, steps: int) -> None:
        """A fork of `steps` steps; it is built at its first step, when its edits are known."""
        self.begin, self.seed, self.horizon, self.edits, self.fork = snapshot, seed, steps, (), None

    def apply(self, edits: Sequence[str]) -> None:
        """Treat the fork with edits of the recipe."""
        self.edits, self.fork = (*self.edits, *edits), None

    def run(self, steps: int) -> None:
        """Train the fork on, by as many images as `steps` steps of the untreated training see."""
        with apart():
            self.fork = self.fork or self._build()
            self.due += steps
            for _ in range(max(1, round(self.due * self.ratio)) - self.taken):
                self.taken += 1
                if self.session.stopped():
                    raise Stopped
                next(self.loop)

    def evaluate(self, few: bool = False) -> tuple[list[float], list[float]]:
        """Errors and losses of the validation images, as the task measures them."""
        most = FEW if few else MOST if self.live else FRESH
        chosen = self.sample[:most]
        world = self.session.world
        return world.agree(self._asked(chosen, 2 if few else 4) if world.main else None)

    def _asked(self, chosen: Tensor, batches: int) -> tuple[list[float], list[float]]:
        with apart():
            self._freshen(batches)
            seen = evaluate(self.fork.judged, self.dataset.validation, indices=chosen)
        return seen.errors.double().tolist(), seen.losses.double().tolist()

    def cost(self) -> float:
        """Operations of a step of the fork, in steps of the untreated training."""
        with apart():
            self.fork = self.fork or self._build()
        network = self.fork.model.network
        return operations(self.recipe, network, self.dataset) * self.ratio / self.plain

    def _freshen(self, batches: int) -> None:
        """Norm statistics of the present weights: those of a short fork still hold its first ones.

        Not where batches are small: that their statistics are poor is what is to be seen then.
        """
        if self.begin.tensors is None and self.feed.batch_size >= 16:
            recalibrate(self.fork.judged, (self.feed(step) for step in range(batches)))

    def shared(self, edits: Sequence[str]) -> list[str]:
        """The rate that "auto" stood for in a fork under these edits: the one that was proved."""
        if self.live or not self._open_rate(edits):
            return []
        return [
            f"optimizer.rate={usual_rate(settle(self.settled.edited(list(edits)), self.dataset))!r}"
        ]

    def _open_rate(self, edits: Sequence[str]) -> bool:
        """Whether the rate of a treated fork is left to choose."""
        chosen = any(edit.startswith("optimizer.rate=") for edit in edits)
        return self.asked.optimizer.rate == "auto" and not chosen

    # How a fork is made.

    def _build(self) -> Any:
        held = self.begin
        recipe = self.recipe = self._recipe()
        model, fresh = make_classifier(recipe, self.dataset, self.network, weights=not held.tensors)
        recipe = self.recipe = settle_layout(recipe, model)
        fresh = self.fresh_names if held.tensors else fresh
        world = self.session.world
        state = make_state(recipe, model, fresh, self.device, world, self.dataset)
        if held.tensors and held.facts:
            state.load(held.tensors, held.facts)
        state.model.train()
        first, rate = state.step, rate_of(recipe)
        self.ratio = int(self.settled.training.batch_size) / int(recipe.training.batch_size)
        self.due = self.taken = 0
        left = (1.0 - held.done) / max(1.0, self.horizon * self.ratio)
        self.feed = make_feed(recipe, self.dataset, self.device, world)
        self.loop = steps(
            state, self.feed, lambda at: rate(min(1.0, held.done + left * (at - first)))
        )
        return state

    def _recipe(self) -> Recipe:
        """The settled recipe with the edits, for this seed, at the scale of the fork's length."""
        recipe = self.settled.edited(list(self.edits)) if self.edits else self.settled
        recipe = settle(recipe, self.dataset)
        rate = recipe.optimizer.rate
        if rate == "auto" or (self.edits and not self.live and self._open_rate(self.edits)):
            rate = usual_rate(recipe)
        scale = 1.0 if self.begin.tensors else max(1.0, self.steps / self.horizon)
        tree = recipe.tree()
        tree["optimizer"]["rate"] = rate
        tree["training"]["ema"] **= scale
        if self.seed:
            tree["seed"] = mix(recipe.seed, self.seed)
        return Recipe.model_validate(tree)
