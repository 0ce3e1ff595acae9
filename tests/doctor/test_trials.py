"""Trials on patients whose truth is known: what is kept, what is not, what it may cost."""

from __future__ import annotations

import random
from math import sqrt
from statistics import NormalDist

import pytest

from visus.doctor.remedies import Treatment
from visus.doctor.trials import Difference, contest, paired, pooled, trial
from visus.errors import NotFiniteError, RecipeError

IMAGES = 400


class Dummy:
    """A patient whose error after a fork is `truth[edits]`; images answered by a seeded draw."""

    def __init__(self, truth, *, spread=0.0, salt=0, breaks=(), costs=None, refused=()):
        self.truth, self.spread, self.breaks, self.salt = truth, spread, breaks, salt
        self.costs, self.refused, self.log, self.ran = costs or {}, refused, [], 0

    def snapshot(self):
        return "snapshot"

    def restore(self, snapshot, seed, steps):
        assert snapshot == "snapshot"
        self.seed, self.steps, self.edits, self.at = seed, steps, (), 0
        self.log.append(seed)

    def apply(self, edits):
        if any(edit in self.refused for edit in edits):
            raise RecipeError("no such network; choose another")
        self.edits = tuple(edits)

    def run(self, steps):
        self.at += steps
        self.ran += steps
        if self.edits in self.breaks:
            raise NotFiniteError("the loss is nan; lower the rate")

    def evaluate(self, few=False):
        luck = random.Random(f"{self.salt} {self.seed} {self.edits}").gauss(0, self.spread)
        error = self.truth[self.edits] + luck
        error = 0.9 + (error - 0.9) * self.at / self.steps  # from chance to what it comes to
        n = 50 if few else IMAGES
        wrong = [random.Random(f"{self.salt} {self.seed} {i}").random() < error for i in range(n)]
        return [float(w) for w in wrong], [float(w) for w in wrong]

    def cost(self):
        return self.costs.get(self.edits, 1.0)


def treatments(*edits):
    return [Treatment((edit,), "because", name=edit) for edit in edits]


def test_a_remedy_that_helps_is_kept_and_its_numbers_are_on_record():
    found = trial(Dummy({(): 0.8, ("a=1",): 0.3}), treatments("a=1")[0], steps=40)
    line = found.line()
    assert found.kept and line["edits"] == ["a=1"] and line["seeds"] == 1
    assert line["effect"] == pytest.approx(line["control_error"] - line["treated_error"])
    assert line["interval"][0] < 0.5 < line["interval"][1]
    assert line["control"]["x"] == [20, 40] and len(line["treatment"]["y"]) == 2


def test_a_remedy_that_does_nothing_is_not_kept():
    patient = Dummy({(): 0.3, ("a=1",): 0.3}, spread=0.02)
    found = trial(patient, treatments("a=1")[0], steps=40)
    assert not found.kept and found.reason == "no better than the control beyond noise"


def test_chance_alone_is_hardly_ever_kept():
    """Fifty contests of four arms that differ by luck alone: at most one is kept by mistake."""
    kept = 0
    for n in range(50):
        names = [f"a={k}" for k in range(4)]
        truth = {(): 0.3} | {(name,): 0.3 for name in names}
        trials, _ = contest(Dummy(truth, spread=0.02, salt=n), treatments(*names), steps=40)
        kept += sum(t.kept for t in trials)
    assert kept <= 1


def test_the_best_of_several_is_kept_alone():
    truth = {(): 0.8, ("a=1",): 0.66, ("b=1",): 0.2, ("c=1",): 0.85}
    trials, _ = contest(Dummy(truth), treatments("a=1", "b=1", "c=1"), steps=40)
    assert [t.kept for t in trials] == [False, True, False]
    assert "another remedy was better" in trials[0].reason


def test_after_a_plain_success_no_rival_is_tried():
    truth = {(): 0.8, ("a=1",): 0.2, ("b=1",): 0.1}
    patient = Dummy(truth)
    trials, _ = contest(patient, treatments("a=1", "b=1"), steps=40)
    assert [t.kept for t in trials] == [True, False] and patient.ran == 80
    assert "a remedy was found" in trials[1].reason


def test_of_equal_ones_the_one_with_fewer_edits():
    both = Treatment(("a=1", "b=1"), "")
    truth = {(): 0.4, ("a=1", "b=1"): 0.2, ("a=1",): 0.2}
    trials, _ = contest(Dummy(truth), [both, *treatments("a=1")], steps=40)
    assert [t.kept for t in trials] == [False, True]


def test_a_close_one_gets_more_seeds_and_the_same_for_both_arms():
    patient = Dummy({(): 0.34, ("a=1",): 0.29})
    found = trial(patient, treatments("a=1")[0], steps=40)
    assert found.difference and found.difference.seeds > 1
    assert patient.log == sorted(patient.log) and patient.log.count(1) == 2


def test_a_fork_that_breaks_is_lost_and_a_control_that_breaks_is_beaten():
    broken = Dummy({(): 0.3, ("a=1",): 0.1}, breaks={("a=1",)})
    assert trial(broken, treatments("a=1")[0], steps=40).reason.startswith("broke after")
    control = Dummy({(): 0.3, ("a=1",): 0.4}, breaks={()})
    assert trial(control, treatments("a=1")[0], steps=40).kept


def test_what_cannot_be_built_is_passed_over():
    truth = {(): 0.8, ("b=1",): 0.2}
    trials, _ = contest(Dummy(truth, refused=("a=1",)), treatments("a=1", "b=1"), steps=40)
    assert "cannot be tried" in trials[0].reason and trials[1].kept


def test_a_hopeless_fork_is_left_at_half_its_way():
    patient = Dummy({(): 0.2, ("a=1",): 0.89})
    found = trial(patient, treatments("a=1")[0], steps=40)
    assert found.treated.cost == 20 and "abandoned" in found.reason


@pytest.mark.parametrize("budget", [80, 100, 200, 1000])
def test_the_budget_holds(budget):
    names = [f"a={k}" for k in range(8)]
    truth = {(): 0.5} | {(name,): 0.45 for name in names}
    patient = Dummy(truth, costs={("a=0",): 2.0})
    trials, spent = contest(patient, treatments(*names), steps=40, budget=budget)
    assert spent <= budget + 40  # a fork of a dearer network may overrun by its own price
    assert any("not tried" in t.reason for t in trials) or budget == 1000


def test_the_interval_against_the_textbook():
    """One seed, no spread: mean and 1.96 standard errors of the paired differences."""
    draw = random.Random(0)
    control = [float(draw.random() < 0.5) for _ in range(200)]
    treated = [float(draw.random() < 0.3) for _ in range(200)]
    gaps = [c - t for c, t in zip(control, treated, strict=True)]
    mean = sum(gaps) / 200
    error = sqrt(sum((g - mean) ** 2 for g in gaps) / 199 / 200)
    found = paired([control], [treated], spread=0.0)
    z = NormalDist().inv_cdf(0.975)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - z * error, mean + z * error))  # fmt: skip


def test_seeds_that_disagree_widen_the_interval():
    ones, none = [1.0] * 100, [0.0] * 100
    agree = paired([ones] * 3, [none] * 3)
    apart = paired([ones, none, ones], [none, none, none])
    assert apart.high - apart.low > agree.high - agree.low


def test_after_a_plain_success_what_sets_the_same_key_otherwise_is_tried_still():
    """`jitter=auto` helps far more than what was; `jitter=none` may be better by as much again."""
    some = [Treatment((edit,), "odd", name=edit, prior=0.6) for edit in ("a=1", "b=1", "a=2")]
    patient = Dummy({(): 0.8, ("a=1",): 0.4, ("a=2",): 0.1, ("b=1",): 0.0})
    trials, _ = contest(patient, some, steps=40)
    assert [t.kept for t in trials] == [False, False, True] and patient.ran == 120
    hint = Treatment(("a=3",), "", prior=0.2)
    assert some[0].rivals([*some, hint]) == [some[2]]


def test_two_trials_together_prove_what_neither_does_alone():
    one, other = Difference(0.06, -0.004, 0.124, 1, 1000), Difference(0.025, -0.001, 0.051, 1, 1000)
    both = pooled(one, other)
    assert both.better and one.mean > both.mean > other.mean and both.seeds == 2
    # A weighted mean by the textbook: weights 1 / variance, and z of 97.5 % for the second look.
    w = [1 / ((d.high - d.low) / 2 / 1.959964) ** 2 for d in (one, other)]
    assert both.mean == pytest.approx((0.06 * w[0] + 0.025 * w[1]) / sum(w))
    assert both.high - both.mean == pytest.approx(2.241403 / sum(w) ** 0.5, rel=1e-5)
    assert not pooled(one, Difference(-0.025, -0.051, 0.001, 1, 1000)).better, "they disagree"
