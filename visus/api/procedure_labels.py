"""Suspected labels: what the nearest other images are called, in features and in pixels.

A network in training learns what is right in most labels long before what is wrong in some (Arpit
et al. 2017), so by its features images of one true class lie together whatever they are called.
Each image is asked about by a vote of its neighbours, its own label left out (deep k-NN: Bahri,
Jiang and Gupta 2020), in the network's own features and in coarse pixels, which have never seen a
label; each space counts by how well it names validation images. Of digits with 37 to 41 % wrong
labels both together name 97 to 99 % at 30 % of the run, and 7 to 15 right ones of 600; features
alone name 22 to 31 of these.

The same vote is asked about validation images, whose labels count as right: what share of these it
names is what it would name of train if nothing were wrong there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visus.api.procedure_checks import coarse
from visus.errors import RecipeError
from visus.training import Session, evaluate
from visus.training.patient import judges
from visus.training.selection import evenly, trusted
from visus.training.tasks import make_task

NEIGHBOURS = 20  # that vote on an image
TIMES = 2  # votes for another class for each vote for the label, from which it is suspected
FEW, MOST = 2000, 5000  # images of train that vote: where little speaks for it, and else
SURE, MORE = 0.5, 0.08  # of the named are likely wrong; more of train than of validation are named
PART = 0.05  # of the run's work that judging all of train may cost


@dataclass(frozen=True)
class Suspects:
    """`names` of training images, the share of train that they are, that of validation."""

    names: list[str]
    share: float
    elsewhere: float

    @property
    def precision(self) -> float:
        """The share of the named that is likely to be wrong, at least.

        Of right labels train is named as often as validation, e; where the share of wrong labels
        is q, and at most all of these are named, share <= q + (1 - q) e. So q is at least
        (share - e) / (1 - e), and (1 - q) e / share of the named are right.
        """
        e = min(self.elsewhere, self.share)
        wrong = (self.share - e) / max(1e-9, 1.0 - e)
        return 1.0 - (1.0 - wrong) * e / self.share if self.share and e < 1.0 else 0.0

    @property
    def likely(self) -> bool:
        """Whether most of the named are likely to be wrong."""
        return self.precision > SURE

    @property
    def many(self) -> bool:
        """Whether they are, and far more of train is named than of validation."""
        return self.likely and self.share - self.elsewhere > MORE


def suspected(session: Session) -> Suspects:
    """Training images whose neighbours contradict their label.

    A sample is asked about first; where most of the named are likely to be wrong, all of train is,
    if the run affords it.
    """
    found, n = sampled(session, MOST), len(session.dataset.train)
    work = 3 * session.plan.steps * session.feed.batch_size  # backward counts twice
    if n <= MOST or not found.likely or n > PART * work:
        return found
    return _asked(session, torch.arange(n), evenly(n, MOST))


def sampled(session: Session, most: int) -> Suspects:
    """The same among at most so many images of train, evenly spread, as folders stand class by class."""
    if make_task("auto", session.dataset).name != "classification":
        return Suspects([], 0.0, 0.0)
    electors = evenly(len(session.dataset.train), most)
    return _asked(session, electors, electors)


def _asked(session: Session, rows: Tensor, electors: Tensor) -> Suspects:
    """The vote of `electors` on the images `rows` of train, which hold them, and on validation.

    What is in quarantine already is asked about again, but has no vote.
    """
    dataset, apart = session.dataset, set(session.recipe.training.quarantine)
    held = judges(dataset, session.recipe.seed)
    targets, classes = dataset.train.targets[rows], len(dataset.classes)
    at = torch.searchsorted(rows, electors)  # where the electors stand among the rows
    voters = at[[dataset.train.names[n] not in apart for n in electors.tolist()]]
    place = torch.full((len(rows),), -1).index_copy(0, voters, torch.arange(len(voters)))
    truth = dataset.validation.targets[held]
    votes: list[Any] = [0.0, 0.0]  # of train, of validation
    for own, other in _spaces(session, rows, held):
        electorate = (own[voters], targets[voters], classes)
        there = _votes(other, *electorate)
        weight = _weight(there, truth)
        votes[0] += weight * _votes(own, *electorate, place)
        votes[1] += weight * there
    named, beside = _named(votes[0], targets), _named(votes[1], truth)
    names = [dataset.train.names[i] for i in rows[named].tolist()]
    return Suspects(names, float(named.double().mean()), float(beside.double().mean()))


def quarantine(session: Session, seen: Suspects) -> list[str]:
    """The edit that leaves them out; none where a class would be left without images."""
    try:
        trusted(session.dataset.train, seen.names)
    except RecipeError:
        return []
    return [f"training.quarantine={json.dumps(seen.names)}"]


def _spaces(session: Session, rows: Tensor, held: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The images of train and of validation as unit vectors, `(n, D)` each, in each of the two spaces.

    What is near in features is near because the labels, the wrong ones too, have made it so; what
    is near in pixels has never seen a label.
    """
    train, beside = session.dataset.train, session.dataset.validation
    for space in (_features, lambda _, images, chosen: coarse(images, chosen)):
        own, other = space(session, train, rows), space(session, beside, held)
        middle = own.mean(0)
        yield F.normalize(own - middle, dim=1), F.normalize(other - middle, dim=1)


def _features(session: Session, images: Any, rows: Tensor) -> Tensor:
    """What the last linear layer is given of each image, `(n, D)`; without one, the probabilities."""
    model, seen = session.state.judged, []
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1:]
    note = lambda _, given: seen.append(given[0].detach().float().flatten(1).cpu())  # noqa: E731
    handles = [layer.register_forward_pre_hook(note) for layer in last]
    try:
        found = evaluate(model, images, indices=rows)
    finally:
        for handle in handles:
            handle.remove()
    features = torch.cat(seen) if seen else found.probabilities
    return features if len(features) == len(rows) else found.probabilities


def _votes(
    x: Tensor, voters: Tensor, targets: Tensor, classes: int, place: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Share of the nearest voters in each class, `(n, K)`.

    `place` `(n,)` says which voter an image is itself, which is none of its own; -1 for no voter.
    """
    k = min(NEIGHBOURS, len(voters) - 1)
    found = torch.zeros(len(x), classes)
    for part in torch.arange(len(x)).split(1000):
        near = x[part] @ voters.T
        if place is not None:
            own = place[part]
            near[(own >= 0).nonzero()[:, 0], own[own >= 0]] = -torch.inf
        found[part] = F.one_hot(targets[near.topk(k, 1).indices], classes).float().mean(1)
    return found


def _weight(votes: Tensor, targets: Tensor) -> float:
    """What the votes of a space count: the odds that they name validation images right, chance left out."""
    right = float((votes.argmax(1) == targets).double().mean())
    chance = float(torch.bincount(targets).max()) / len(targets)
    return max(1e-3, right - chance) / max(1 / len(targets), 1.0 - right)


def _named(votes: Tensor, targets: Tensor) -> Tensor:
    """Whether another class has more than `TIMES` the votes of the label."""
    return votes.max(1).values > TIMES * votes.gather(1, targets[:, None])[:, 0]
