"""Suspected labels midway: a vote of neighbours, against labels that were planted wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from visus import api, ledger
from visus.api import procedure_labels as labels
from visus.api import procedure_treat as treating
from visus.api.procedure_case import Case
from visus.api.procedure_errors import read_errors
from visus.api.procedure_treat import _by_loss
from visus.data import prepare
from visus.doctor.remedies import Treatment
from visus.doctor.trials import Answers, Arm, Difference, Trial
from visus.training import Session, load_recipe
from visus.training.selection import Part, evenly

SETS = ["model=cnn", "model.width=8", "model.stages=2", "training.threads=1", "training.precision=float32",
        "training.epochs=4", "seed=3"]  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> Any:
    """A session in the midst of its training on digits, 30 % of whose training labels are wrong."""
    dataset = prepare("digits", seed=3)
    targets, draw = dataset.train.targets, torch.Generator().manual_seed(1)
    right = targets.clone()
    rows = torch.randperm(len(targets), generator=draw)[: int(0.3 * len(targets))]
    targets[rows] = (targets[rows] + torch.randint(1, 10, (len(rows),), generator=draw)) % 10
    session = Session(load_recipe(None, SETS), dataset)
    for _ in session.run():
        if session.plan.done(session.step) >= 0.5:
            break
    return session, (targets != right)


def test_what_is_named_is_what_was_planted(trained):
    session, wrong = trained
    seen = labels.suspected(session)
    names = session.dataset.train.names
    named = torch.tensor([name in set(seen.names) for name in names])
    hits = float((named & wrong).sum())
    assert hits / float(wrong.sum()) > 0.9 and hits / float(named.sum()) > 0.75
    assert seen.share == pytest.approx(float(named.double().mean()))
    # What validation says of the precision, it says without knowing what was planted.
    assert seen.precision == pytest.approx(hits / float(named.sum()), abs=0.1)


@pytest.mark.parametrize("affords", [True, False])
def test_of_images_that_stand_class_by_class_all_classes_vote(trained, monkeypatch, affords):
    """A few vote, and name what is wrong; on all of train where the run affords it."""
    session, wrong = trained
    whole = session.dataset
    train = Part(whole.train, whole.train.targets.argsort(stable=True))
    monkeypatch.setattr(session, "dataset", replace(whole, train=train))
    monkeypatch.setattr(labels, "PART", 1.0 if affords else 0.0)
    monkeypatch.setattr(labels, "MOST", 400)
    named = set(labels.suspected(session).names)
    hits = {name for name, false in zip(whole.train.names, wrong.tolist(), strict=True) if false}
    voters = {train.names[i] for i in evenly(len(train), 400).tolist()}
    asked = hits if affords else hits & voters
    assert len(named & hits) > 0.85 * len(asked) and len(named & hits) > 0.7 * len(named)
    assert affords or named <= voters


@pytest.mark.parametrize(("wrong", "hit", "false"), [(0.36, 0.8, 0.2), (0.2, 1.0, 0.1), (0.0, 0.9, 0.3), (0.4, 0.95, 0.0)])  # fmt: skip
def test_the_precision_is_no_more_than_it_is(wrong, hit, false):
    """Of right labels as many are named as of validation; exact where all wrong ones are."""
    share = wrong * hit + (1 - wrong) * false
    told, true = labels.Suspects([], share, false).precision, wrong * hit / share
    assert told <= true + 1e-9
    assert told == pytest.approx(true, abs=1e-9 if hit == 1 or not wrong else 0.16)


def test_an_image_has_no_vote_on_itself():
    """Two far clusters; the votes by hand: all neighbours within an image's own cluster."""
    x = torch.nn.functional.normalize(torch.tensor([[1.0, 0.01 * i] for i in range(5)] + [[-1.0, 0.01 * i] for i in range(5)]), dim=1)  # fmt: skip
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    held, labels.NEIGHBOURS = labels.NEIGHBOURS, 4
    try:
        votes = labels._votes(x, x, targets, 2, torch.arange(10))
    finally:
        labels.NEIGHBOURS = held
    assert votes[4].tolist() == [1.0, 0.0] and votes[0].tolist() == [0.75, 0.25]
    assert labels._named(votes, targets).nonzero()[:, 0].tolist() == [4, 9]


def test_pixels_vote_beside_features(trained, monkeypatch):
    """Both spaces together name better than features, and about as well as the better of the two."""
    session, wrong = trained
    names = session.dataset.train.names

    def right(space):
        """Of the images, how many are named rightly, and rightly not."""
        if space is not None:
            monkeypatch.setattr(labels, "_spaces", lambda *given: [next(iter(space(*given)))])
        named = set(labels.suspected(session).names)
        return float((torch.tensor([name in named for name in names]) == wrong).double().mean())

    spaces = labels._spaces
    both = right(None)
    features = right(spaces)
    pixels = right(lambda *given: list(spaces(*given))[1:])
    assert both > features and both > pixels - 0.01


def test_a_space_that_knows_nothing_has_no_say():
    """By hand: 9 of 10 right with 4 of the largest class, odds 0.5 / 0.1; at chance all but nothing."""
    targets = torch.tensor([0] * 4 + [1] * 3 + [2] * 3)
    votes = torch.nn.functional.one_hot(targets, 3).float()
    votes[0] = torch.tensor([0.0, 1.0, 0.0])
    assert labels._weight(votes, targets) == pytest.approx(0.5 / 0.1)
    votes[:] = torch.tensor([1.0, 0.0, 0.0])
    assert labels._weight(votes, targets) < 0.01


class Cut(BaseException):
    """The run is left here."""


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Any:
    """Digits as arrays, a third of the training labels wrong, and the run that is not cut off."""
    folder, draw = tmp_path_factory.mktemp("noisy"), np.random.default_rng(5)
    x, y = load_digits(return_X_y=True)  # type: ignore[misc]
    x, y = (x.reshape(-1, 8, 8) * 15).astype(np.uint8), y.astype(np.int64)
    wrong = draw.permutation(1000)[:380]
    parts = {"train": slice(0, 1000), "val": slice(1000, 1600), "test": slice(1600, None)}
    arrays = {f"{a}_{p}": v[rows].copy() for p, rows in parts.items() for a, v in (("x", x), ("y", y))}  # fmt: skip
    arrays["y_train"][wrong] = draw.integers(0, 10, len(wrong))
    np.savez(folder / "noisy.npz", **arrays)
    return folder / "noisy.npz", train(folder / "noisy.npz", folder / "run")


def train(data: Any, out: Any) -> Any:
    more = [
        "training.epochs=10",
        "training.checkpoint_every=none",
        "model.width=16",
        "model.stages=3",
    ]
    return api.train(data, out=out, set=[*SETS, *more])


def test_wrong_labels_are_quarantined_early(noisy):
    (kept,) = [x for x in ledger.read(noisy[1].folder) if x["kind"] == "trial" and x["kept"]]
    assert kept["edits"][0].startswith("training.quarantine=") and kept["live"]
    plan = ledger.select(ledger.read(noisy[1].folder), "plan")[-1]
    assert kept["at"] < 0.55 * plan["steps"]


@pytest.mark.parametrize("moment", ["in its trial", "before its stage is told"])
def test_a_run_left_midway_decides_the_same(noisy, tmp_path, monkeypatch, moment):
    data, whole = noisy

    def cut(*args, **more):
        raise Cut

    told = Case.stage

    def stage(self, name, *rest):
        return cut() if name == "midway" else told(self, name, *rest)

    with monkeypatch.context() as patch:
        if moment == "in its trial":
            patch.setattr(treating, "contest", cut)
        else:
            patch.setattr(Case, "stage", stage)
        with pytest.raises(Cut):
            train(data, tmp_path / "run")
    run = api.train(data, resume=tmp_path / "run")
    one, other = (load_file(r.folder / "model.safetensors") for r in (whole, run))
    assert all(one[k].equal(other[k]) for k in one)


def test_training_far_above_validation_is_no_underfitting():
    epochs: list[Any] = [{"train_error": 0.4, "validation_error": 0.06, "validation_loss": 1.0} for _ in range(4)]  # fmt: skip
    baseline = {"linear_error": 0.1, "chance_error": 0.9}
    assert list(read_errors(epochs, baseline)[1]) == ["label-noise"]
    for line in epochs:
        line["validation_error"] = 0.4
    assert list(read_errors(epochs, baseline)[1]) == ["underfitting"]


def trial(key: str, gain: float, losses: tuple[float, float]) -> Trial:
    arms = [Arm((), answers={0: Answers([0.0] * 400, [loss + 0.01 * (i % 7) for i in range(400)])}) for loss in losses]  # fmt: skip
    gap = Difference(gain, gain - 0.03, gain + 0.03, 1, 400)
    return Trial(Treatment((f"{key}=x",), "why"), *arms, gap, False, "", 30)


@pytest.mark.parametrize(
    ("key", "gain", "losses", "precision", "kept"),
    [
        ("training.quarantine", 0.01, (0.6, 0.3), 0.9, True),
        ("training.quarantine", -0.01, (0.6, 0.3), 0.9, True),  # of a fork too short to err less
        ("training.quarantine", 0.01, (0.6, 0.3), 0.6, False),  # too many hard images among them
        ("training.quarantine", 0.01, (0.6, 0.55), 0.9, False),  # within the luck of a fork
        ("loss.label_smoothing", 0.01, (0.6, 0.3), 0.9, False),  # that loss means another thing
    ],
)
def test_when_the_loss_decides(key, gain, losses, precision, kept):
    one = trial(key, gain, losses)
    _by_loss([one], precision)
    assert one.kept is kept
