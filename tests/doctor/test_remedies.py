"""Remedies as data: every edit fits the recipe, a healthy chart calls for none, faults for the right one."""

from __future__ import annotations

import pytest

from visus.doctor.remedies import Chart, Treatment, prescribe, remedies, together
from visus.doctor.rules import rules
from visus.training import load_recipe

USUAL = {
    "optimizer.rate": 0.025, "rate_there": 0.025, "training.batch_size": 32, "model.name": "cnn",
    "model.width": 32, "regularization.l2": 5e-4, "jitter": {"crop": {}},
}  # fmt: skip
BASE = [
    "model=cnn",
    "optimizer.rate=0.025",
    "batch_size=32",
    "regularization.l2=5e-4",
    "jitter=crop",
]


def chart(*sets, findings=None, **facts):
    recipe = load_recipe(None, [*BASE, *sets])
    return Chart(recipe.tree(), USUAL, findings or {}, {"steps": 400, "train": 1000} | facts)


def test_a_healthy_chart_calls_for_nothing():
    assert prescribe(chart()) == []


@pytest.mark.parametrize(
    ("sets", "edit"),
    [
        (["optimizer.rate=2.5"], "optimizer.rate=0.025"),
        (["optimizer.rate=0.0002"], "optimizer.rate=0.025"),
        (["optimizer.momentum=0.995"], "optimizer.momentum=0.9"),
        (["training.clip=0.0001"], "training.clip=5.0"),
        (["batch_size=900"], "training.batch_size=32"),
        (["schedule={name='step', drops=[0.01]}"], "schedule=one-cycle"),
        (["model.activation=sigmoid"], "model.activation=relu"),
        (["model.norm=none"], "model.norm=batch"),
        (["model.norm=batch", "batch_size=2"], "model.norm=group"),
        (["model.width=2"], "model.width=32"),
        (["model=linear"], "model=cnn"),
        (["normalization=none"], "normalization=channel"),
        (["init=zero"], "init=auto"),
        (["regularization.l2=0.5"], "regularization.l2=0.0005"),
        (["regularization.l1=0.1"], "regularization.l1=0.0"),
        (["model.dropout=0.9"], "model.dropout=0.0"),
        (["loss.label_smoothing=0.9"], "loss.label_smoothing=0.0"),
        (["jitter={affine={degrees=180.0}}"], "jitter=auto"),
        (["training.ema=0.9999"], "training.ema=0.0"),
        (["loss=l1"], "loss=cross-entropy"),
    ],
)
def test_an_extreme_value_calls_for_its_remedy(sets, edit):
    assert any(edit in t.edits for t in prescribe(chart(*sets))), prescribe(chart(*sets))


def test_facts_of_the_data_call_for_theirs():
    assert any("training.balance=sampling" in t.edits for t in prescribe(chart(imbalance=20.0)))
    names = [f"image-{i}" for i in range(90)]
    (found,) = [t for t in prescribe(chart(suspects=names)) if t.name == "quarantine"]
    assert load_recipe(None, list(found.edits)).training.quarantine == tuple(names)


def test_every_remedy_gives_edits_that_the_recipe_takes():
    """Charts that are wrong everywhere, with every finding: whatever is prescribed must be a recipe."""
    findings = dict.fromkeys(rules, 0.9)
    wrong = [
        ["optimizer.rate=2.5", "optimizer.momentum=0.999", "training.clip=0.001", "batch_size=900",
         "schedule=constant", "model.activation=sigmoid", "model.norm=none", "model.width=2", "init=zero",
         "normalization=none", "regularization.l2=0.5", "model.dropout=0.9", "loss=l1", "training.ema=0.9999"],
        ["optimizer={name='adamw', rate=1.0, eps=0.1}", "model={name='mlp', depth=12, activation='tanh'}",
         "loss.label_smoothing=0.9", "jitter=none", "batch_size=4"],
        ["model={name='linear'}", "model.dropout=0.9", "jitter={affine={degrees=180.0}}"],
        ["model.width=256", "batch_size=2"],
        [],
    ]  # fmt: skip
    seen = set()
    for sets in wrong:
        known = chart(*sets, findings=findings, imbalance=20.0, suspects=["a", "b"])
        recipe = load_recipe(None, [*BASE, *sets])
        found = prescribe(known, least=0.0)
        seen |= {t.name for t in found}
        both = together(found)
        for t in [*found, *([both] if both else [])]:
            assert recipe.edited(list(t.edits)) != recipe, t
            assert t.title and t.why
    assert seen == set(remedies)


def test_findings_named_by_remedies_exist():
    named = {name for make in remedies.values() for name in make.cures}
    assert named <= set(rules)


def test_only_living_remedies_while_the_training_is_under_way():
    found = prescribe(chart("model.norm=none", "regularization.l2=0.5"), live=True)
    assert found and not any(t.fresh for t in found)


def test_together_takes_the_stronger_of_two_that_set_one_key():
    a = Treatment(("model=cnn",), "", 0.9, "a", prior=0.9)
    b = Treatment(("model.width=3",), "", 0.8, "b", prior=0.8)
    c = Treatment(("optimizer.rate=1.0",), "", 0.7, "c", prior=0.7)
    d = Treatment(("training.clip=1.0",), "", 0.9, "d", prior=0.0)
    found = together([a, b, c, d])
    assert found is not None and found.edits == ("model=cnn", "optimizer.rate=1.0")
    assert together([a]) is None
