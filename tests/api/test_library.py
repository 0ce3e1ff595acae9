"""The same as the commands, from Python: arrays, a network of one's own, recipes, listeners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import visus
from visus.errors import RunError, UsageError
from visus.training import Recipe, load_recipe

QUICK = {"epochs": 2, "optimizer__rate": 0.05, "batch_size": 64, "threads": 1}


def arrays(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that differ in brightness, 8x8."""
    draw = np.random.default_rng(0)
    targets = np.arange(n) % 2
    images = draw.integers(0, 100, (n, 8, 8), dtype=np.uint8) + 100 * targets[:, None, None]
    return images.astype(np.uint8), targets


def test_arrays_train_and_say_that_they_are_not_kept(tmp_path):
    heard = []
    run = visus.train(
        arrays(),
        out=tmp_path / "r",
        on=[heard.append],
        set=["model.width=8"],
        **QUICK | {"epochs": 15},
    )
    assert run.metrics["test_error"] < 0.2
    assert heard[0]["kind"] == "run" and heard[-1]["kind"] == "end"
    with pytest.raises(UsageError, match="not kept"):
        visus.evaluate(run)


def test_a_network_of_ones_own(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    before = [p.clone() for p in network.parameters()]
    run = visus.train("digits", model=network, out=tmp_path / "r", **QUICK)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)), (
        "the caller's weights are his own"
    )
    assert run.model(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert visus.evaluate(run)["looks"] == 2
    with pytest.raises(RunError, match="module of your own"):
        visus.evaluate(tmp_path / "r")


def test_a_recipe_object_with_edits_on_top(tmp_path):
    recipe = load_recipe(None, ["model.name=mlp", "model.width=8"])
    assert isinstance(recipe, Recipe)
    how = {"set": ["model.width=12"], "cure": False, **QUICK}  # which proves that wider is better
    run = visus.train("digits", recipe=recipe, out=tmp_path / "r", **how)
    assert next(run.model.parameters()).shape == (12, 64)


def test_the_run_is_found_from_any_folder(tmp_path, monkeypatch):
    images, targets = arrays()
    np.savez(tmp_path / "mine.npz", x=images, y=targets)
    monkeypatch.chdir(tmp_path)
    run = visus.train("mine.npz", set=["model.width=8"], **QUICK)
    folder = run.folder.resolve()
    monkeypatch.chdir("/")
    assert visus.evaluate(folder)["looks"] == 2


def test_unknown_names_of_the_face():
    with pytest.raises(AttributeError, match="it has"):
        _ = visus.trian
