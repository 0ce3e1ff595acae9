"""Reading the errors: from how many steps and images they say anything, and what is listed against them."""

from types import SimpleNamespace
from typing import Any

import pytest

from visus import api, ledger
from visus.api import procedure_labels as labels
from visus.api.procedure_case import Case
from visus.api.procedure_errors import cures, read_errors
from visus.api.procedure_labels import Suspects
from visus.data import prepare
from visus.doctor.remedies import Chart
from visus.ledger import Ledger
from visus.training import Session, load_recipe

SETS = ["model=cnn", "model.width=4", "model.stages=2", "training.threads=1", "training.precision=float32",
        "optimizer.rate=0.02", "seed=3"]  # fmt: skip


def epochs(train: float, held: float, judged: list[int] | None = None) -> list[Any]:
    line = {"train_error": train, "validation_error": held, "validation_loss": 1.0}
    return [line | ({"judged": judged} if judged else {}) for _ in range(4)]


@pytest.mark.parametrize(
    ("train", "held", "images", "named"),
    [
        (0.40, 0.28, 40, []),  # two standard errors are 21 points: nothing is seen
        (0.40, 0.28, 4000, ["label-noise"]),  # and here 2
        (0.30, 0.66, 20, ["overfitting"]),
        (0.30, 0.58, 15, []),
        (0.30, 0.58, 1500, ["overfitting"]),
    ],
)
def test_what_few_images_show_by_chance_is_no_symptom(train, held, images, named):
    assert list(read_errors(epochs(train, held, [images, images]), {})[1]) == named


def test_a_run_of_a_few_steps_has_no_symptoms(tmp_path):
    sets = [*SETS, "training.epochs=1", "training.batch_size=256"]
    run = api.train("digits", out=tmp_path / "r", set=sets)
    (stage,) = [x for x in run.lines if x["kind"] == "stage" and x["name"] == "errors"]
    assert "too short" in stage["decided"], stage
    assert not {x["id"] for x in ledger.select(run.lines, "finding")} & {
        "underfitting",
        "overfitting",
    }


def test_remedies_that_contradict_each_other_are_not_listed_together():
    sick = ["jitter={affine = {degrees = 180.0}}", "model.dropout=0.9", "regularization.l2=0.1"]
    found = cures("underfitting", chart_of(*sick))
    assert sum("jitter=" in text for text in found) == 1, found
    assert any("model.dropout=0.0" in text for text in found)
    assert any("regularization.l2=0.0005" in text for text in found)
    # What could change nothing here is no advice.
    plain = cures(
        "underfitting", chart_of("jitter=none", "model.dropout=0", "regularization.l2=0.0005")
    )
    assert not any("dropout" in text or "jitter" in text or "l2" in text for text in plain), plain


def chart_of(*edits: str) -> Chart:
    recipe = load_recipe(None, [*SETS, "training.batch_size=32", *edits]).tree()
    usual = {"jitter": {"flip": {}}, "regularization.l2": 5e-4, "optimizer.rate": 0.02}
    return Chart(
        recipe, usual, {"underfitting": 0.7}, {"steps": 1000, "train": 1000, "classes": 10}
    )


@pytest.fixture
def case(tmp_path) -> Any:
    dataset = prepare("digits", seed=3)
    recipe = load_recipe(None, [*SETS, "training.epochs=8"])
    book = Ledger(tmp_path)
    case = Case(tmp_path, book, recipe, dataset)
    session = Session(recipe, dataset, tmp_path, book)
    for step in session.run():
        if step.step == 100:
            break
    for line in epochs(0.5, 0.2, [400, 400]):
        book.write("epoch", epoch=1, step=session.step, **line)
    return case, session


@pytest.mark.parametrize(
    ("suspects", "named"),
    [
        (Suspects(["a"], 0.30, 0.05), "label-noise"),
        (Suspects([], 0.0, 0.0), "split-unrepresentative"),  # no vote, or none against a label
        (Suspects(["a"], 0.05, 0.04), "split-unrepresentative"),
    ],
)
def test_the_vote_tells_wrong_labels_from_a_bad_division(case, monkeypatch, suspects, named):
    asked = []
    monkeypatch.setattr(labels, "suspected", lambda session: asked.append(session.step) or suspects)
    found, session = case
    for _ in range(3):
        assert list(found.read(session)[1]) == [named]
    assert asked == [100], "the vote is taken once a step"


DOUBTS: list[Any] = [  # train, held, what the vote says, what is named, how often it is taken
    (0.50, 0.48, Suspects(["a"], 0.31, 0.12), ["label-noise"], 1),
    (0.50, 0.48, Suspects(["a"], 0.17, 0.16), [], 1),  # images as hard as those of validation
    (0.50, 0.48, Suspects(["a"], 0.014, 0.007), [], 1),  # most are wrong, but next to none
    (0.48, 0.50, Suspects(["a"], 0.31, 0.12), [], 0),  # as it should be: nobody is asked
    (0.85, 0.80, Suspects(["a"], 0.31, 0.12), ["underfitting"], 0),  # nothing is learned yet
]


def test_neighbours_are_asked_where_training_errs_no_less_than_validation(case, monkeypatch):
    found, session = case
    found.stage("baseline", "", {"chance_error": 0.9}, 0.0)
    for train, held, suspects, named, votes in DOUBTS:
        found.voted, asked = None, []
        monkeypatch.setattr(labels, "suspected", lambda _: asked.append(1) or suspects)  # noqa: B023
        now = epochs(train, held, [1000, 1000])[0]
        assert list(found.read(session, now)[1]) == named and len(asked) == votes, (train, suspects)


def test_a_few_of_a_large_data_set_are_asked_first(case, monkeypatch):
    found, session = case
    found.stage("baseline", "", {"chance_error": 0.9}, 0.0)
    now, many, asked = epochs(0.50, 0.48, [1000, 1000])[0], DOUBTS[0][2], []
    monkeypatch.setattr(labels, "FEW", 10)
    monkeypatch.setattr(labels, "suspected", lambda _: asked.append(1) or many)
    monkeypatch.setattr(labels, "sampled", lambda _, most: DOUBTS[1][2])
    assert found.read(session, now)[1] == {} and not asked
    monkeypatch.setattr(labels, "sampled", lambda _, most: many)
    assert list(found.read(session, now)[1]) == ["label-noise"] and asked == [1]


def test_a_vote_of_the_untrusted_does_not_count(case):
    """Images in quarantine are asked about again, but vote on nobody: their labels change no vote."""
    _, session = case
    dataset = session.dataset
    rows = list(range(0, len(dataset.train), 3))
    dataset.train.targets[rows] = (dataset.train.targets[rows] + 1) % 10
    apart = [dataset.train.names[i] for i in rows]
    session.recipe = session.recipe.edited([f"training.quarantine={apart}"])
    first = labels.suspected(session)
    held = set(apart)
    dataset.train.targets[rows] = (dataset.train.targets[rows] + 1) % 10
    second = labels.suspected(session)
    assert {n for n in first.names if n not in held} == {n for n in second.names if n not in held}
    assert len(held & set(first.names)) > 0.8 * len(held)


def test_the_vote_comes_again_after_a_kept_quarantine(case, monkeypatch):
    found, session = case
    book, steps = found.ledger, session.plan.steps
    session.state.step = session.plan.per_epoch * 5
    book.write(
        "trial", edits=['training.quarantine=["x"]'], kept=True, live=True, at=round(0.3 * steps)
    )
    names = session.dataset.train.names[:40]
    monkeypatch.setattr(labels, "suspected", lambda _: Suspects(names, 0.3, 0.02))
    assert found._rejudged(session)
    stage = [x for x in found.past if x["kind"] == "stage" and x["name"] == "suspects"][-1]
    assert stage["evidence"]["edits"][0].count('"') == 80
    from visus.api import procedure_treat as treating

    assert treating.edits(found.past)[-1] == stage["evidence"]["edits"][0]
    assert not found._rejudged(session), "not twice at one moment"


def test_training_in_quarantine_is_not_judged_as_training():
    from visus.training.judge import Judge

    dataset = prepare("digits", seed=3)
    apart = dataset.train.names[::2]
    whole, part = (Judge(dataset, SimpleNamespace(), 3, 64, left) for left in ((), apart))  # type: ignore
    kept = {dataset.train.names[i] for i in part.sample.tolist()}
    assert kept and not kept & set(apart)
    assert kept == {dataset.train.names[i] for i in whole.sample.tolist()} - set(apart)
