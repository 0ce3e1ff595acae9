"""The time limit: what is judged, probed and held in reserve where time is short."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_data
import torch

from visus import training
from visus.doctor.remedies import Treatment
from visus.doctor.trials import contest
from visus.ledger import Ledger, read
from visus.training import Clock, Session, load_recipe, machine
from visus.training.automatic import usual_rate
from visus.training.budget import CLOSING, Budget
from visus.training.distributed import ALONE
from visus.training.judge import LEAST, Judge
from visus.training.probes import Pacer

QUICK = ["model=cnn", "model.width=4", "batch_size=8", "optimizer.rate=0.05", "training.threads=1",
         "training.precision=float32"]  # fmt: skip


def judge(train: int, held: int, seconds: float) -> Judge:
    sets = {"train": range(train), "validation": range(held)}
    made = Judge(SimpleNamespace(**sets), torch.nn.Identity(), 0, 64)
    made.seconds = seconds
    return made


def test_an_evaluation_is_fit_to_the_time():
    one = judge(4000, 2000, 40.0)
    each, before = one.each, one.images
    one.fit(10.0)
    assert one.images <= before / 4 + 2 and one.seconds == pytest.approx(each * one.images)
    assert min(one.sizes) >= LEAST and max(one.sample) < 4000 and max(one.held) < 2000
    assert len(set(one.held.tolist())) == one.sizes[1] and one.held.tolist() == sorted(
        one.held.tolist()
    )
    again = judge(4000, 2000, 40.0)
    again.take(one.sizes)
    assert again.sample.equal(one.sample) and again.held.equal(one.held), (
        "a resumed run judges the same"
    )
    one.fit(0.0)
    assert one.sizes == [LEAST, LEAST], "however short the time"


def test_the_reserve_holds_the_whole_ending():
    own = judge(1000, 1000, 4.0)  # 2 ms an image
    budget = Budget(100.0, Clock(20.0), own, vault=1500, closing=3000)
    assert budget.closing() == min(3000, int(CLOSING * 100 / 0.002))
    assert budget.reserve() == pytest.approx(1.1 * (4.0 + 3.0 + 6.0) + 3.0)
    assert budget.left() == pytest.approx(80.0 - budget.reserve(), abs=0.1)
    short = Budget(10.0, Clock(0.0), own, vault=0, closing=3000)
    assert short.closing() == 400  # 8 % of the limit
    assert Budget(None, Clock(), own, vault=0, closing=3000).closing() == 3000


def test_a_probe_ends_where_it_would_take_too_long():
    state: Any = SimpleNamespace(world=ALONE)
    slow = Pacer(state, 0.2, count=60)
    said = []
    while not (said and said[-1]):
        time.sleep(0.03)
        said.append(slow.late())
    assert said == [False, True] and slow.pace == pytest.approx(0.03, rel=0.5)
    quick = Pacer(state, 5.0, count=60)
    assert not any(quick.late() for _ in range(60))
    assert Pacer(state, 6.0, 0.5).needless and not Pacer(state, 6.0, 0.3).needless


def test_a_range_test_that_could_see_nothing_is_not_begun(tmp_path):
    recipe = [e for e in QUICK if "rate" not in e]
    session = Session(load_recipe(None, [*recipe, "time_limit=8"]), tiny_data.blobs(), tmp_path, Ledger(tmp_path))  # fmt: skip
    session.budget.pace = 1.0  # a check before the first step took so long
    next(iter(session.run()))
    lines = read(tmp_path)
    assert not [x for x in lines if x["kind"] == "range-test"]
    assert [x for x in lines if x["kind"] == "note" and "range test left out" in x["text"]]
    assert session.recipe.optimizer.rate == pytest.approx(usual_rate(session.recipe))


def test_a_choice_is_not_probed_where_that_takes_too_long():
    done: list[int] = []
    work = lambda choice: (done.append(choice), time.sleep(0.02))  # noqa: E731
    assert machine.quickest([4, 2, 1], work, most=0.05) == (4, {}) and done == [4]
    assert set(machine.quickest([4, 2], work, seconds=0.01)[1]) == {"4", "2"}


class Slow:
    """A patient whose treatment is better at once; `ran` counts its steps."""

    ran = 0

    def snapshot(self): ...
    def restore(self, snapshot, seed, steps):
        self.edits = ()

    def apply(self, edits):
        self.edits = edits

    def run(self, steps):
        self.ran += steps

    def evaluate(self, few=False):
        answers = [0.0 if self.edits else 1.0] * 400
        return answers, answers

    def cost(self):
        return 1.0


def test_trials_end_with_the_time():
    patient = Slow()
    pair = [Treatment((f"a={k}",), "why", name=f"a{k}") for k in range(2)]
    trials, _ = contest(patient, pair, steps=30, late=lambda: patient.ran >= 30)
    assert not any(t.kept for t in trials) and patient.ran == 30
    patient = Slow()
    trials, _ = contest(patient, pair, steps=30, late=lambda: patient.ran >= 40)
    assert "time was spent" in trials[0].treated.ended and patient.ran == 45  # at half of a fork
    assert "budget was spent" in trials[1].reason


def test_seconds_are_counted_once_however_often_a_run_is_opened(tmp_path):
    clock = Clock(before=5.0)
    recipe = load_recipe(None, [*QUICK, "epochs=2"])
    for until in (4, 8):
        session = Session(recipe, tiny_data.blobs(), tmp_path, Ledger(tmp_path), clock=clock)
        for step in session.run():
            if step.step == until:
                break
        assert 5.0 < session.clock() < 65.0
    assert training.seconds(tmp_path) == pytest.approx(session.clock(), abs=5.0)
    assert Session(recipe, tiny_data.blobs(), tmp_path, Ledger(tmp_path)).clock() < 65.0


def test_what_took_the_time_and_was_no_step_is_no_pace(tmp_path):
    session = Session(load_recipe(None, [*QUICK, "time_limit=60"]), tiny_data.blobs(), tmp_path, Ledger(tmp_path))  # fmt: skip
    for step in session.run():
        if step.step == 4:
            began = time.monotonic()
            time.sleep(1.5)
            session.back(began)
            session._measure()
            break
    assert session.budget.pace < 0.3
    assert read(tmp_path)
