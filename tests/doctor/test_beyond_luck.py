"""Evidence beyond luck: what a few evaluations, few samples and a first trial of a network prove."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import cohen_kappa_score
from torch import nn
from torch.nn import functional as F

from visus.doctor.probes.answers import by_luck, level, note_answers
from visus.doctor.probes.stock import DataLoss
from visus.doctor.progress import learned
from visus.doctor.rules import rules
from visus.doctor.signals import Signals

sys.path.insert(0, str(Path(__file__).parents[1] / "sick"))
from clinic import digits, fit, grave, mlp, watched  # pyright: ignore[reportMissingImports]

LABELS = "label-noise"


def answers(n=200, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, classes, generator=g), torch.randint(classes, (n,), generator=g)


def found(guess, target, kind="cross_entropy"):
    return DataLoss(kind, guess, target, {}, None)


def noted(*batches, kind="cross_entropy"):
    """What is noted of an evaluation over these batches of (answers, targets)."""
    s, losses = Signals(), [F.cross_entropy(a, y, reduction="none") if kind == "cross_entropy" else
                            (a - y).square() for a, y in batches]  # fmt: skip
    note_answers(s, "v", "", 0, [found(a, y, kind).tally() for a, y in batches], losses)
    return {name: s.last("v", name) for name in ("luck", "level", "loss", "loss_error")}


def test_luck_is_that_of_cohens_kappa():
    guess, y = answers()
    said = noted((guess[:120], y[:120]), (guess[120:], y[120:]))
    error = float((guess.argmax(1) != y).float().mean())
    kappa = cohen_kappa_score(guess.argmax(1).numpy(), y.numpy())
    assert 1 - error / said["luck"] == pytest.approx(kappa)


def test_the_level_is_the_loss_of_the_best_constant_answer():
    guess, y = answers()
    assert noted((guess, y))["level"] == pytest.approx(entropy(numpy.bincount(y.numpy())), abs=1e-6)
    numbers = torch.randn(90, generator=torch.Generator().manual_seed(1))
    said = noted((numbers * 0, numbers), kind="mse_loss")
    assert said["level"] == pytest.approx(float(numpy.var(numbers.numpy())), rel=1e-5)


def test_the_loss_has_its_standard_error():
    guess, y = answers()
    each = F.cross_entropy(guess, y, reduction="none").numpy()
    said = noted((guess[:50], y[:50]), (guess[50:], y[50:]))
    assert said["loss"] == pytest.approx(each.mean(), rel=1e-5)
    assert said["loss_error"] == pytest.approx(each.std() / len(each) ** 0.5, rel=1e-5)


def test_yes_and_no_are_counted_by_question():
    y = torch.tensor([[1.0, 0], [1, 0], [0, 0], [1, 0]])
    tally = found(y - 0.5, y, "binary_cross_entropy_with_logits").tally()
    assert tally.tolist() == [[[1, 3], [4, 0]]] * 2
    shares = tally.double() / 4
    assert by_luck(*shares) == pytest.approx((2 * 0.25 * 0.75 + 0) / 2)
    assert level(shares[1]) == pytest.approx(entropy([1, 3]) / 2)


# ------------------------------------------------------------------ labels that say little
def hard(apart=False, look=True):
    """Ten classes, of whose labels the inputs tell little, and half of the units dropped: in 150 steps
    hardly anything is learned."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 40, generator=g)
    y = (x[:, :10] + 2 * torch.randn(2000, 10, generator=g)).argmax(1)
    if apart:
        y = y[torch.randperm(len(y), generator=g)]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def each(step):
        if look and step % 50 == 49:
            net.eval()
            with torch.no_grad():
                for k in range(1600, 2000, 100):
                    F.cross_entropy(net(x[k : k + 100]), y[k : k + 100])
            net.train()

    fit(net, x[:1600], y[:1600], optimizer=optimizer, steps=150, size=16, each=each)


def test_little_learned_is_no_sign_of_wrong_labels_where_evaluations_show_it():
    assert LABELS not in grave(hard)


def test_wrong_labels_are_named_where_evaluations_show_nothing():
    assert grave(lambda: hard(apart=True))[:1] == [LABELS]


def looked(**by_name):
    s = Signals()
    s.steps, s.facts = 200, {"plain": True, "task": "classification", "classes": 10, "majority": 0.12,
                             "kind": "cross_entropy", "prior_entropy": 2.3}  # fmt: skip
    for step in range(200):
        s.add("loss", "value", step, 2.29)
    for name, value in {"n": 200, "error": 0.87, "luck": 0.9, "loss": 2.3, "level": 2.29, "loss_error": 0.01,
                        **by_name}.items():  # fmt: skip
        s.add("validation", name, 100, value)
    s.add("batch", "size", 0, 32)
    s.add("trial", "batch_first", 0, 2.3)
    s.add("trial", "batch_last", 0, 1.0)
    s.add("trial", "held_error", 0, 0.9)
    s.add("trial", "held_n", 0, 200)
    return rules[LABELS](s)


def test_one_evaluation_beyond_luck_clears_the_labels():
    assert looked() is not None
    assert looked(error=0.80) is None  # 4.7 standard errors below luck
    assert looked(loss=2.25) is None  # 4 standard errors below the best constant answer
    assert looked(loss=2.27) is not None


# ------------------------------------------------------------------ few samples, again and again
def counted(high, low, new=1.0):
    s = Signals()
    s.facts = {"plain": True, "label_counts": {0: high, 1: low, 2: high}, "new_samples": new}
    return rules["class-imbalance"](s)


def test_the_same_few_samples_counted_again_prove_no_imbalance():
    assert counted(50, 5) is not None
    assert counted(150, 20) is not None and counted(150, 20, new=1 / 8) is None


def test_what_is_right_by_heart_and_a_guess_elsewhere_is_overfitting():
    def told(train, val, majority=0.14):
        s = Signals()
        s.facts = {"plain": True, "task": "classification", "majority": majority}
        for name, value in (("train_error", train), ("train_n", 192), ("validation_error", val),
                            ("validation_n", 512)):  # fmt: skip
            s.add("final", name, 300, value)
        return rules["overfitting"](s)

    assert told(0.22, 0.82) is not None  # of 64 points beyond a guess 4 are left
    assert told(0.22, 0.64) is None  # a third is left
    assert told(0.22, 0.82, majority=1.0) is None  # no guess is known


# ------------------------------------------------------------------ tried once, then initialized
def tried_then_drawn(std):
    x, y, *_ = digits()
    net = mlp(64, 48, 48, 48, 10)
    net(x[:2])  # to see that it runs
    for layer in list(net)[:-1:2]:
        nn.init.normal_(layer.weight, std=std)
    fit(net, x, y, optimizer=torch.optim.SGD(net.parameters(), 0.02), steps=100)


def test_first_weights_are_those_of_the_first_step():
    doctor = watched(lambda: tried_then_drawn(1e-4))
    assert doctor.findings[0]["id"] == "init-too-small"
    s = doctor.host.signals
    assert [s.first(place, "scale") for place in "024"] == pytest.approx(
        [8e-4, 7e-4, 7e-4], rel=0.1
    )
    assert s.last("optimizer", "travel") < 0.5


def test_a_network_tried_once_and_drawn_well_is_left_alone():
    assert grave(lambda: tried_then_drawn(0.15)) == []


# ------------------------------------------------------------------ what else little evidence leaves open
def frozen_at_random(own, kept, taught):
    """Most weights frozen as torch drew them; errors of the program, and of 120 steps with these kept or taught."""
    rest = dict.fromkeys(("stray", "gradient", "asked", "tried"), False) | {"tracked": True}
    off = dict.fromkeys(("moved", "granted", "trainable", "optimizer", "shifted", "paid"), False)
    rows = [{"name": "0.weight", "size": 900, "fresh": True, **off, **rest},
            {"name": "2.weight", "size": 100, "fresh": False, **dict.fromkeys(off, True), **rest}]  # fmt: skip
    s = Signals()
    s.steps, s.facts = (
        100,
        {"parameters": rows, "task": "classification", "classes": 10, "majority": 0.12},
    )
    for name, value in {"kept": kept, "taught": taught, "n": 109}.items():
        s.add("thaw", name, 0, value)
    s.add("final", "train_error", 100, own)
    s.add("final", "train_n", 100, 400)
    return rules["parameter-not-updated"](s)


def test_frozen_layers_are_accused_only_of_what_is_beyond_chance():
    assert frozen_at_random(own=0.65, kept=0.82, taught=0.74) is None  # 1.3 standard errors apart
    assert frozen_at_random(own=0.65, kept=0.55, taught=0.25) is not None
    assert (
        frozen_at_random(own=0.88, kept=0.82, taught=0.74) is not None
    )  # nothing at all without them


def saturating(falls):
    s = Signals()
    s.layers = [{"place": "a", "act": "tanh", "norm": ""}, {"place": "b", "act": "", "norm": ""}]
    s.facts = {"task": "classification", "classes": 10, "majority": 0.1, "prior_entropy": 2.3}
    for step in range(100):
        s.add("loss", "value", step, 2.3 - 0.01 * step * falls)
        s.add("a", "saturated", step, min(step / 10, 0.7))
    return rules["activation-saturated"](s)["severity"]


def test_units_that_training_saturated_are_a_remark_while_the_loss_falls():
    assert (saturating(True), saturating(False)) == ("info", "warning")


def numbers_by_batch(momentum):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1200, 12, generator=g)
    y = (x @ torch.randn(12, 1, generator=g)) / 3 + torch.sin(2 * x[:, :1])
    net = mlp(12, 64, 64, 1, norm=nn.BatchNorm1d)
    for layer in net:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = momentum
    sgd = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9)
    fit(net, x, y, optimizer=sgd, loss=F.mse_loss, steps=300, size=16)


def test_statistics_that_no_momentum_ever_updates_are_named():
    assert grave(lambda: numbers_by_batch(0.0))[:1] == ["norm-train-test-gap"]
    assert grave(lambda: numbers_by_batch(0.1)) == []


def rests_where_it_began(rate):
    """Two moons: behind batch normalization the first weights know a third of the way already."""
    g = torch.Generator().manual_seed(5)
    t, side = (
        torch.rand(1600, generator=g) * torch.pi,
        (torch.rand(1600, generator=g) > 0.5).float(),
    )
    x = torch.stack(
        [torch.cos(t) * (1 - 2 * side) + side, torch.sin(t) * (1 - 2 * side) + 0.5 * side], 1
    )
    x = x + 0.1 * torch.randn(1600, 2, generator=g)
    net = mlp(2, 64, 2, norm=nn.BatchNorm1d, seed=3)
    fit(net, x, side.long(), optimizer=torch.optim.Adam(net.parameters(), rate), steps=150, size=64)


def test_steps_next_to_nothing_are_named_though_the_first_weights_know_a_little():
    assert grave(lambda: rests_where_it_began(3e-6))[:1] == ["learning-rate-too-small"]


def test_a_part_of_the_loss_is_no_sign_of_learning():
    """Of four accumulated steps each brings a quarter of the loss: below chance level from the start."""

    def accumulated(parts=4):
        x, y, *_ = digits()
        net = mlp(64, 32, 10)
        sgd = torch.optim.SGD(net.parameters(), 1e-3)
        for k in range(160):
            rows = torch.arange(16) + 16 * (k % 90)
            (F.cross_entropy(net(x[rows]), y[rows]) / parts).backward()
            if k % parts == parts - 1:
                sgd.step()
                sgd.zero_grad()

    assert learned(watched(accumulated).host.signals) < 0.4  # a quarter of the loss would be 0.75


@pytest.mark.parametrize(("running", "named"), [(-1.86, False), (-1.81, False), (0.9, True)])
def test_a_loss_below_zero_is_judged_by_the_gap(running, named):
    """Losses weighted by learned variances fall below zero: there 1.6 times a loss is less, not more."""
    s = Signals()
    s.facts |= {"plain": True, "task": "classification", "prior_entropy": 2.3,
                "norms": {"bn": {"momentum": 0.1}}}  # fmt: skip
    s.steps = 400
    for step in range(400):
        s.add("loss", "value", step, 2.3 - step / 100)
    s.add("bn", "norm_training", 399, 1.0)
    s.add("switch", "batch", 399, -1.81)
    s.add("switch", "eval", 399, running)
    assert bool(rules["norm-train-test-gap"](s)) == named
