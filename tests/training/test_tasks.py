"""Tasks: a contract over the family, and each member against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics
from tiny_data import Images
from torch import nn

from visus.errors import RecipeError
from visus.ledger import Ledger
from visus.training import Session, evaluate, load_recipe, load_trained
from visus.training.tasks import Task, make_task, task_of, tasks

FORMS = [
    "classification",
    "dichotomy",
    "regression",
    "multi-label",
    "distribution",
    "ranking",
    "segmentation",
]


class Data:
    """A data set of noise whose first pixels tell the target."""

    def __init__(self, task: str, n: int = 48, held: int = 24):
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (n + held, 1, 8, 8), generator=draw).to(torch.uint8)
        value = pixels[:, 0, :4].float().mean((1, 2)) / 255
        level = ((value - value.mean()) / value.std()).clamp(-2, 2)
        targets, self.classes = {
            "classification": ((level > 0).long() + (level > 1).long(), ["a", "b", "c"]),
            "dichotomy": ((level > 0).long(), ["0", "1"]),
            "regression": (torch.stack([level * 7 + 100, -level], 1), ["up", "down"]),
            "multi-label": (torch.stack([level > 0, level < 1, level > -1], 1).float(), ["a", "b", "c"]),
            "distribution": (torch.softmax(torch.stack([level, -level], 1), 1), ["a", "b"]),
            "ranking": (level[:, None], ["score"]),
            "segmentation": ((pixels[:, 0] > 128).to(torch.uint8), ["dark", "bright"]),
        }[task]  # fmt: skip
        self.task, self.name, self.channels, self.size = task, "noise", 1, (8, 8)
        self.train, self.validation = (
            Images(pixels[:n], targets[:n]),
            Images(pixels[n:], targets[n:]),
        )
        self.vault, self.mean, self.std = (), [0.5], [0.3]


def trained(task: str, folder=None, *edits: str, epochs: int = 2, size: dict | None = None):
    dataset = Data(task)
    wide = "pyramid" if task == "segmentation" else "cnn"
    recipe = load_recipe(None, [
        f"model={{name = '{wide}', width = 4}}", f"epochs={epochs}", "optimizer.rate=0.05",
        "training.threads=1", "training.precision=float32", *edits,
    ])  # fmt: skip
    session = Session(recipe, dataset, folder, Ledger())
    list(session.run())
    return session, dataset


def check(name: str, folder=None) -> None:
    """The contract of a task: raises where an evaluation is not what comparisons rely on."""
    session, data = trained(name, folder)
    model = session.best()
    seen = evaluate(model, data.validation)
    samples = len(seen)
    assert seen.errors.shape == (samples,) and seen.losses.shape == (samples,)
    assert np.isfinite(seen.error) and seen.error >= 0 and (seen.errors >= 0).all()
    low, high = seen.interval
    assert low <= seen.error + 0.2 and high >= seen.error - 0.2 and low <= high
    outputs = model(data.validation.batch(torch.arange(3)).float() / 255)
    rows = model.task.rows(outputs, 2)
    assert len(rows) == 3 and all(isinstance(row, dict) and row for row in rows)
    for row in seen.metrics():
        assert set(row) == {"name", "value", "interval", "better", "unit"}
    for kind, fields in model.task.lines(seen, data.validation, model):
        assert isinstance(kind, str) and isinstance(fields, dict)
    assert len(model.task.labels(data.validation.targets[:5])) == 5
    again = task_of({"task": model.task.described(), "classes": data.classes})
    assert type(again) is type(model.task) and again.facts == model.task.facts


@pytest.mark.parametrize("name", list(tasks))
def test_contract(name, tmp_path):
    assert set(tasks) == set(FORMS)
    check(name, tmp_path)
    loaded = load_trained(tmp_path)
    data = Data(name)
    assert evaluate(loaded, data.validation).error == pytest.approx(
        evaluate(trained(name)[0].best(), data.validation).error, abs=1e-6
    )


def test_the_contract_sees_a_broken_task(monkeypatch):
    kind = tasks["regression"]
    monkeypatch.setattr(kind, "rows", lambda self, outputs, top: [])
    with pytest.raises(AssertionError):
        check("regression")


@pytest.mark.parametrize("loss", ["l2", "l1", "smooth-l1"])
def test_regression_speaks_in_units_of_the_data(loss):
    session, data = trained("regression", None, f"loss={loss}", epochs=60)
    seen = evaluate(session.best(), data.train)
    assert seen.said[:, 0].mean() == pytest.approx(100, abs=4)  # deviation 7
    assert seen.error < 0.7  # of the variance
    r2 = metrics.r2_score(seen.targets.numpy(), seen.said.numpy(), multioutput="raw_values")
    named = {row["name"]: row["value"] for row in seen.metrics()}
    assert [named["R² of up"], named["R² of down"]] == pytest.approx([*r2], abs=1e-5)  # type: ignore[misc]
    assert named["mean absolute error of up"] == pytest.approx(
        metrics.mean_absolute_error(seen.targets[:, 0], seen.said[:, 0]), abs=1e-4
    )
    mean = make_task("regression", data).read(
        data.train.targets.mean(0).expand(48, -1), data.train.targets, [""] * 48, 0.0
    )
    assert mean.error == pytest.approx(1.0, abs=1e-5)


def test_the_threshold_of_a_dichotomy_is_the_best_on_validation():
    task = tasks.make("dichotomy", ["no", "yes"])
    said = torch.tensor([0.1, 0.2, 0.3, 0.35, 0.4, 0.9])
    seen = task.read(said, torch.tensor([0, 0, 0, 1, 1, 1]), list("abcdef"), 0.0)
    assert seen.error == pytest.approx(2 / 6)
    task.settle(seen)
    assert 0.3 < task.threshold < 0.35
    better = task.read(said, seen.targets, seen.names, 0.0)
    assert better.error == 0 and task.rows(torch.logit(said)[:, None], 3)[3]["class"] == "yes"
    curve = seen.roc()
    fpr, tpr, _ = metrics.roc_curve(seen.targets, said)
    assert metrics.auc(curve["false"], curve["true"]) == pytest.approx(metrics.auc(fpr, tpr))


def test_segmentation_counts_as_scikit_learn_does_and_ignores():
    task = tasks.make("segmentation", ["a", "b", "c"], void=2)
    draw = torch.Generator().manual_seed(3)
    outputs = torch.randn(4, 3, 6, 5, generator=draw)
    truth = torch.randint(0, 3, (4, 6, 5), generator=draw).to(torch.uint8)
    truth[0, :2] = 255
    seen = task.read(task.gather(outputs, truth), truth, list("abcd"), 0.0)
    kept = (truth < 2).flatten()
    said, true = outputs.argmax(1).flatten()[kept], truth.flatten()[kept]
    expected = metrics.jaccard_score(true, said, labels=[0, 1], average="macro")
    assert seen.error == pytest.approx(1 - expected)
    loss = task.criterion("cross-entropy", {})
    plain = nn.functional.cross_entropy(
        outputs.permute(0, 2, 3, 1).reshape(-1, 3)[kept], true.long()
    )
    assert float(loss(outputs, truth)) == pytest.approx(float(plain), rel=1e-5)
    assert float(loss(outputs, torch.full_like(truth, 255))) == 0.0


def test_ranking_compares_the_pairs_that_are_asked():
    task = tasks.make("ranking", ["score"])
    loss = task.criterion("margin-ranking", {"margin": 1.0})
    scores = torch.tensor([[2.0], [0.5], [1.0]])
    truth = torch.tensor([[3.0], [2.0], [1.0]])
    by_hand = (max(0, 1 - 1.5) + max(0, 1 - 1.0) + max(0, 1 + 0.5)) / 3
    assert float(loss(scores, truth)) == pytest.approx(by_hand)
    pairs = torch.tensor([[0, 1], [0, 0], [1, 1], [1, 0.0]])
    four = torch.tensor([[2.0], [0.5], [1.0], [1.0]])
    assert float(loss(four, pairs)) == pytest.approx((0 + 1) / 2)
    assert task.read(four[:, 0], pairs, ["x", "y"], 0.0).error == pytest.approx(0.25)
    assert float(loss(scores, torch.ones(3, 1))) == 0.0


def test_multi_label_measures_are_scikit_learns():
    task = tasks.make("multi-label", ["a", "b", "c"])
    draw = np.random.default_rng(2)
    said, truth = draw.random((50, 3)).astype(np.float32), draw.integers(0, 2, (50, 3))
    seen = task.read(torch.tensor(said), torch.tensor(truth), [""] * 50, 0.0)
    named = {row["name"]: row["value"] for row in seen.metrics()}
    assert seen.error == pytest.approx(metrics.hamming_loss(truth, said >= 0.5))
    assert named["F1 over all labels"] == pytest.approx(
        metrics.f1_score(truth, said >= 0.5, average="micro")
    )
    assert named["mean F1 of the labels"] == pytest.approx(
        metrics.f1_score(truth, said >= 0.5, average="macro")
    )
    assert named["mean average precision"] == pytest.approx(
        metrics.average_precision_score(truth, said)
    )


def test_what_does_not_fit_is_refused_in_one_line():
    with pytest.raises(RecipeError, match="none of a regression; choose l2 or l1 or smooth-l1"):
        trained("regression", None, "loss=kl")
    with pytest.raises(RecipeError, match=r"does not answer a regression.*choose cnn"):
        trained("regression", None, "model=pyramid")
    with pytest.raises(RecipeError, match="choose pyramid"):
        trained("segmentation", None, "model=cnn")
    with pytest.raises(RecipeError, match="masks cannot be blended"):
        trained("segmentation", None, "jitter=mixup")
    with pytest.raises(
        RecipeError, match=r"training.balance = weights is of classes|takes no weights"
    ):
        trained("regression", None, "training.balance=weights")
    with pytest.raises(RecipeError, match="did you mean 'regression'"):
        load_recipe(None, ["task.name=regresion"])


def test_a_task_is_a_class():
    assert all(issubclass(tasks[name], Task) for name in tasks)  # type: ignore[arg-type]
