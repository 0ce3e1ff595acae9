"""A session as a patient: forks are the run itself, bit for bit, and leave it alone."""

from __future__ import annotations

import pytest
import tiny_data
import torch

from visus.ledger import Ledger
from visus.training import Session, load_recipe
from visus.training.patient import SessionPatient, Stopped

SETS = ["model=cnn", "model.width=4", "model.dropout=0.1", "epochs=3", "batch_size=8", "optimizer.rate=0.05",
        "training.threads=1", "training.precision=float32", "jitter=none", "schedule=constant", "regularization.l2=0.0"]  # fmt: skip


def session(folder=None, *sets, data=None):
    recipe = load_recipe(None, [*SETS, *sets])
    made = Session(recipe, data or tiny_data.blobs(), folder, Ledger(folder))
    return made, recipe


def run(made, steps):
    loop = made.run()
    for _ in range(steps):
        next(loop)
    return loop


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_fork_from_the_first_step_is_the_run_itself():
    made, recipe = session()
    loop = run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, 10)
    patient.run(10)
    forked = weights(patient.fork.model)
    run_on = [next(loop) for _ in range(9)]
    assert run_on[-1].step == 10
    assert same(forked, weights(made.model))


def test_a_fork_of_the_living_state_goes_on_as_the_run_does():
    made, recipe = session()
    loop = run(made, 7)
    patient = SessionPatient(made, recipe, live=True)
    patient.restore(patient.snapshot(), 0, 5)
    patient.run(2)
    patient.run(3)
    for _ in range(5):
        next(loop)
    assert same(weights(patient.fork.model), weights(made.model))


@pytest.mark.parametrize("live", [False, True])
def test_forks_leave_no_trace(tmp_path, live):
    def train(with_forks):
        folder = tmp_path / f"{with_forks}"
        folder.mkdir()
        made, recipe = session(folder, "optimizer=adamw", "training.ema=0.9")
        loop = run(made, 6)
        lines = len((folder / "ledger.jsonl").read_text().splitlines())
        if with_forks:
            patient = SessionPatient(made, recipe, live=live)
            for edits in ((), ("optimizer.rate=0.5",), ("model.dropout=0.0",)):
                patient.restore(patient.snapshot(), 1, 6)
                patient.apply(edits)
                patient.run(6)
                patient.evaluate()
            assert len((folder / "ledger.jsonl").read_text().splitlines()) == lines
        drawn = torch.rand(1)
        list(loop)
        return weights(made.model), drawn

    (plain, one), (forked, other) = train(False), train(True)
    assert same(plain, forked)
    del one, other


def test_another_seed_is_another_fork_and_the_same_seed_the_same():
    made, recipe = session()
    run(made, 1)
    patient = SessionPatient(made, recipe)
    found = []
    for seed in (1, 2, 1):
        patient.restore(patient.snapshot(), seed, 6)
        patient.run(6)
        found.append(weights(patient.fork.model))
    assert same(found[0], found[2]) and not same(found[0], found[1])


def test_a_fork_goes_through_the_whole_schedule_in_its_steps():
    made, recipe = session(None, "schedule=one-cycle")
    run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, 8)
    patient.run(1)
    rates = [patient.fork.optimizer.param_groups[0]["lr"]]
    for _ in range(7):
        patient.run(1)
        rates.append(patient.fork.optimizer.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(0.05, rel=0.05)
    assert rates[-1] < 0.2 * max(rates) and rates[0] < 0.2 * max(rates)


def test_penalties_stay_and_the_average_is_as_much_shorter():
    made, recipe = session(None, "regularization.l2=0.001", "training.ema=0.9")
    run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, made.plan.steps // 4)
    patient.cost()
    scale = made.plan.steps / (made.plan.steps // 4)
    assert patient.recipe.regularization.l2 == 0.001
    assert patient.recipe.training.ema == pytest.approx(0.9**scale)


def test_a_smaller_batch_sees_as_many_images_and_costs_as_much():
    made, recipe = session()
    run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, 6)
    patient.apply(("training.batch_size=2",))
    assert patient.cost() == pytest.approx(1.0)
    patient.run(3)
    assert patient.fork.step == 12
    patient.run(3)
    assert patient.fork.step == 24


def test_a_wider_network_costs_more():
    made, recipe = session()
    run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, 6)
    patient.apply(("model.width=8",))
    assert patient.cost() > 2


def test_answers_are_of_the_same_images_in_the_same_order():
    made, recipe = session()
    run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, 4)
    patient.run(4)
    errors, losses = patient.evaluate()
    assert len(errors) == len(losses) == len(made.dataset.validation)
    assert set(errors) <= {0.0, 1.0} and all(loss >= 0 for loss in losses)
    assert patient.evaluate() == (errors, losses)


def test_a_session_that_is_told_to_stop_stops_its_forks():
    made, recipe = session()
    run(made, 1)
    patient = SessionPatient(made, recipe)
    patient.restore(patient.snapshot(), 0, 4)
    made.stop("signal SIGINT")
    with pytest.raises(Stopped):
        patient.run(4)
