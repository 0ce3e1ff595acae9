"""The race: a rival with the usual setting runs beside a run that learns, and takes its place where it wins."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from visus import api, ledger
from visus.api import procedure_looks as looking_at
from visus.api import procedure_race as racing
from visus.api.procedure_treat import PLAIN, called
from visus.data import prepare
from visus.doctor.remedies import Treatment
from visus.doctor.trials import LEAST
from visus.training import Session, load_recipe

SETS = ["model=cnn", "model.width=8", "model.stages=2", "training.threads=1", "training.precision=float32",
        "training.epochs=8", "data.validation=0.25", "training.checkpoint_every=none", "seed=3"]  # fmt: skip
SLOW = ["schedule={name='one-cycle', warmup=0.98, start=0.0001}"]
HARMLESS = ["regularization.l2=0.005"]  # and ten times the usual
OPEN = ["optimizer.momentum=0.965"]  # ahead or not: the first stage cannot tell


def train(folder, *sets, **how):
    return api.train("digits", out=folder, set=[*SETS, *sets], **how)


def kinds(run, kind):
    return ledger.select(ledger.read(run.folder), kind)


def same(run, other):
    one, two = (load_file(r.folder / "model.safetensors") for r in (run, other))
    return one.keys() == two.keys() and all(one[k].equal(two[k]) for k in one)


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    return train(tmp_path_factory.mktemp("race") / "raced", *SLOW)


def test_a_rival_that_wins_is_the_run(raced, tmp_path):
    """Bit for bit the run that had the remedy from the first step on: no step is lost or repeated."""
    (trial,) = kinds(raced, "trial")
    assert trial["kept"] and trial["race"] and trial["edits"] == ["schedule=one-cycle"]
    assert trial["interval"][0] > 0 and trial["control"]["x"] == trial["treatment"]["x"]
    known = train(tmp_path / "known", "schedule=one-cycle", cure=False)
    assert same(raced, known)
    assert raced.metrics["validation_error"] == known.metrics["validation_error"]
    epochs = [line["epoch"] for line in ledger.history(raced.lines) if line["kind"] == "epoch"]
    assert sorted(set(epochs)) == list(range(1, 9))


def test_a_race_costs_what_the_rival_ran(raced):
    race = next(x for x in kinds(raced, "stage") if x["name"] == "race")
    steps = kinds(raced, "plan")[-1]["steps"]
    assert race["evidence"]["steps_spent"] <= 0.2 * steps
    assert not (raced.folder / racing.FOLDER).exists()
    page = (raced.folder / "report.html").read_text()
    assert "The rival is the run from here on." in page and "In a race the run itself" in page


def test_a_rival_that_does_not_win_leaves_no_trace(tmp_path):
    run, plain = train(tmp_path / "r", *HARMLESS), train(tmp_path / "p", *HARMLESS, cure=False)
    trials = [line for line in kinds(run, "trial") if line.get("race")]
    assert trials and not any(line["kept"] for line in kinds(run, "trial"))
    assert same(run, plain) and not (run.folder / racing.FOLDER).exists()


def test_an_open_race_goes_into_a_later_stage(tmp_path):
    run = train(tmp_path / "r", *OPEN)
    (trial,) = [line for line in kinds(run, "trial") if line.get("race")]
    steps = kinds(run, "plan")[-1]["steps"]
    stage = [part[-1] <= trial["at"] / steps for part in racing.STAGES].count(True) - 1
    assert stage > 0 and not trial["kept"]
    marks = [mark for part in racing.STAGES[: stage + 1] for mark in part]
    # Both are looked at, at the same marks: at as many as it took, not at all of them.
    assert trial["treatment"]["x"] == trial["control"]["x"]
    assert 1 < len(trial["treatment"]["x"]) <= len(marks)


def test_a_rival_in_two_sittings_is_judged_as_in_one(tmp_path):
    """Its moving average follows the tensors of the session that goes on."""
    recipe, data = load_recipe(None, SETS), prepare("digits", seed=3)
    whole = racing.Lane(Session(recipe, data))
    racing._raced(whole, 1)
    parts = racing.Lane(Session(recipe, data, tmp_path / racing.FOLDER))
    racing._raced(parts, 0)
    race = racing.Race(odd(), racing.Lane(parts.session), parts)
    again = racing._entered(race, recipe, [], tmp_path)
    racing._raced(again, 1)
    for look in (*again.looks[-racing.JUDGED :], *whole.looks[-racing.JUDGED :]):
        look.closely()
        assert len(look.wrong) == len(data.validation)
    assert again.steps == whole.steps
    assert all(a.wrong.equal(b.wrong) for a, b in zip(again.looks, whole.looks, strict=True))


def start(folder):
    command = [sys.executable, "-m", "visus.cli", "train", "digits", "--out", str(folder)]
    for edit in (*SETS, *SLOW):
        command += ["--set", edit]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("moment", ["rival", "trial", "restart"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_run_cut_off_in_its_race_ends_the_same(raced, tmp_path, moment, sent):
    folder, child = tmp_path / "cut", None

    def seen():
        lines = ledger.read(folder) if (folder / ledger.NAME).exists() else []
        if moment == "rival":
            return (folder / racing.FOLDER / ledger.NAME).exists()
        return any(x["kind"] == moment or (moment == "restart" and x.get("restart")) for x in lines)

    child = start(folder)
    for _ in range(6000):
        if seen():
            break
        time.sleep(0.01)
        assert child.poll() is None, "it ended before it was cut off"
    child.send_signal(sent)
    child.wait()
    run = api.Run(folder) if child.returncode == 0 else api.train("digits", resume=folder)
    assert same(raced, run)


def test_a_race_keeps_to_a_time_limit(tmp_path):
    """Run and rival have one clock; where the machine is too slow for it, the run says so."""
    limit, began = 15.0, time.monotonic()
    sets = [edit for edit in (*SETS, *SLOW) if not edit.startswith("training.epochs")]
    run = api.train("digits", out=tmp_path / "r", set=sets, time_limit=limit)
    spent = time.monotonic() - began
    room = kinds(run, "plan")[0]["steps"] >= 150  # else the machine is too slow for any race
    assert not room or [x for x in kinds(run, "trial") if x.get("race")], run.lines
    assert spent < 1.1 * limit or "of a limit of 15" in kinds(run, "end")[-1]["message"], spent
    assert spent > 0.6 * limit, "the time was not used"
    assert max(x["seconds"] for x in kinds(run, "plan")) < limit


def test_a_healthy_run_uses_its_time_limit(tmp_path):
    """The steps that the doctor watched are steps: what they took is no pause."""
    limit, began = 10.0, time.monotonic()
    sets = [edit for edit in SETS if not edit.startswith("training.epochs")]
    run = api.train("digits", out=tmp_path / "r", set=sets, time_limit=limit)
    assert "first steps" in [x["name"] for x in kinds(run, "stage")]
    assert time.monotonic() - began > 0.7 * limit
    assert all(x["step_seconds"] > 0 for x in kinds(run, "plan"))


def session(steps=1000) -> Any:
    return SimpleNamespace(plan=SimpleNamespace(steps=steps))


def odd(prior=PLAIN, **more):
    return Treatment(("jitter=auto",), "why", prior, "a", "A", prior=prior, **more)


def test_when_there_is_a_race():
    race = racing.planned(session(), [odd()], 250.0)
    assert race is not None and race.treatment == odd() and race.stage == 1
    plain = replace(odd(), edits=("schedule=one-cycle",))  # neither easier nor judged late
    assert (race := racing.planned(session(), [plain], 250.0)) and race.stage == 0
    assert racing.planned(session(), [odd()], 150.0) is None  # too little is left
    assert racing.planned(session(), [odd(0.5)], 250.0) is None  # not odd enough
    assert racing.planned(session(), [odd(findings=("relu-dead",))], 250.0) is None
    assert racing.planned(session(), [], 250.0) is None


def lane(errors, n=1000) -> Any:
    data = SimpleNamespace(validation=SimpleNamespace(targets=torch.arange(n) % 10))
    own: Any = SimpleNamespace(dataset=data)
    looks = [
        looking_at.Look(own, [], torch.arange(n), (torch.arange(n) < e * n).double())
        for e in errors
    ]
    return racing.Lane(own, list(range(1, 5)), looks)


@pytest.mark.parametrize(
    ("run", "rival", "keys", "kept"),
    [
        (0.5, 0.4, "schedule", True),
        (0.5, 0.48, "schedule", False),  # within the luck of a training
        (0.5, 0.52, "schedule", False),
        (0.5, 0.44, "schedule", True),
        (0.5, 0.455, "schedule", True),
        (0.5, 0.455, "jitter", False),  # an easier task is learned faster at first
        (0.9, 0.84, "jitter", True),  # the run has learned nothing so far
    ],
)
def test_who_wins(run, rival, keys, kept):
    treatment = Treatment((f"{keys}=x",), "why", 0.7, "a", "A", prior=0.7)
    race = racing.Race(treatment, lane([0.99, run, run, run]), stage=1)
    arm = lane([0.99, rival, rival, rival]).arm(treatment.edits, 4.0)
    verdict = racing._verdict(race, arm, 180)
    assert verdict.kept is kept and verdict.difference is not None
    assert (verdict.difference.low > 0) or not kept


@pytest.mark.parametrize(
    ("key", "stage", "last", "kept"),
    [
        ("schedule=x", 1, 3, False),  # the earlier, the surer
        ("schedule=x", 3, 3, True),
        ("schedule=x", 1, 1, True),  # where the budget reaches no later stage
        ("regularization.l2=x", 2, 3, False),  # without a penalty a run learns faster at first
        ("regularization.l2=x", 3, 3, True),
    ],
)
def test_what_leads_early_need_not_lead_late(key, stage, last, kept):
    treatment = Treatment((key,), "why", 0.7, "a", "A", prior=0.7)
    race = racing.Race(treatment, lane([0.99, 0.5, 0.5, 0.5]), stage=stage, last=last)
    arm = lane([0.99, 0.47, 0.47, 0.47]).arm(treatment.edits, 4.0)
    verdict = racing._verdict(race, arm, 180)
    assert verdict.kept is kept
    surer = race.sure * (racing.STAGES[max(1, stage)][-1] / racing.STAGES[last][-1]) ** 0.5
    assert surer == pytest.approx(racing.SURE)  # O'Brien and Fleming's boundary


def looking(errors: list[float], seen: list[int], seed: int) -> Any:
    """A runner whose looks say how many images they were asked about, in any order of right and wrong."""
    draw, n = torch.Generator().manual_seed(seed), 1000

    class Counted(looking_at.Look):
        def closely(self, most: int | None = None) -> None:
            more = self.whole[len(self.wrong) : most]
            seen.append(len(more))
            self.wrong = torch.cat([self.wrong, more])

    made, looks = lane(errors), []
    for given in made.looks:
        looks.append(Counted(given.session, [], given.chosen))
        looks[-1].whole = given.wrong[torch.randperm(n, generator=draw)]
    return racing.Lane(made.session, made.steps[: len(looks)], looks)


@pytest.mark.parametrize(
    ("run", "rival", "least", "kept", "images"),
    [
        (0.9, 0.2, inf, True, 400),  # plain: one mark, few images
        (0.2, 0.9, inf, False, 400),
        (0.5, 0.5, inf, False, 2000),  # out of reach: half of the images
        (0.5, 0.43, inf, True, 4000),
        (0.5, 0.58, -inf, False, 400),  # it goes on, and may win later
    ],
)
def test_no_more_is_looked_at_than_decides(run, rival, least, kept, images):
    treatment, counted = Treatment(("schedule=x",), "why", 0.7, "a", "A", prior=0.7), []
    race = racing.Race(treatment, looking([0.99, run, run], counted, 1), stage=1)
    race.rival = looking([0.99, rival, rival], counted, 2)
    race.run.session.step = 180
    verdict = racing._judged(race, 4.0, least)
    assert verdict.kept is kept and sum(counted) == images


@pytest.mark.parametrize(("rival", "kept"), [(0.3, True), (0.45, False), (0.9, False)])
def test_the_first_stage_decides_what_is_plain(rival, kept):
    treatment, counted = Treatment(("schedule=x",), "why", 0.7, "a", "A", prior=0.7), []
    race = racing.Race(treatment, looking([0.6], counted, 1))
    race.rival = looking([rival], counted, 2)
    race.run.session.step = 100
    assert racing._judged(race, 4.0, LEAST).kept is kept and sum(counted) == 400


def test_only_the_newest_marks_judge():
    """What was seen at an earlier stage has no say, though of this one only a mark was looked at."""
    one = lane([0.9, 0.9, 0.5, 0.2])
    one.looks[2].wrong = torch.zeros(0)
    assert one.arm((), 0.0).error == pytest.approx(0.2)


def test_what_fell_behind_in_a_race_is_not_tried_again(tmp_path):
    """AdamW's rate a hundred times too large, and yet it learns: squeezed forks would lower it."""
    lines = [{"kind": "trial", "edits": ["optimizer.rate=0.025"], "race": True, "effect": -0.1, "live": False}]  # fmt: skip
    recipe = load_recipe(None, [*SETS, "optimizer.rate=0.6"])
    patient = Session(recipe, prepare("digits", seed=3))
    for past, tried in ((lines, False), ([], True)):
        found, _ = called(patient, recipe, past, {}, {}, True, 0.5, None)
        assert any(t.name == "rate-usual" for t in found) is tried
