"""The checks of the first steps measure a loss from where nobody comes below."""

from __future__ import annotations

import pytest
import torch

from visus.api.procedure_checks import least_loss, one_batch
from visus.api.procedure_watch import call, fell
from visus.data import prepare
from visus.training import Session, load_recipe

SETS = ["model=cnn", "model.width=8", "training.threads=1", "training.precision=float32"]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_least_loss_is_that_of_the_best_answer(smoothing):
    """Beside torch: the loss of a net that says exactly the smoothed label."""
    session = Session(load_recipe(None, [*SETS, f"loss.label_smoothing={smoothing}"]), prepare("digits"))  # fmt: skip
    label = torch.full((1, 10), smoothing / 10)
    label[0, 3] += 1 - smoothing
    best = label.clamp_min(1e-30).log()
    loss = torch.nn.functional.cross_entropy(best, torch.tensor([3]), label_smoothing=smoothing)
    assert least_loss(session) == pytest.approx(float(loss), abs=1e-5)


def test_one_batch_of_smoothed_labels_is_learned_by_heart():
    sets = [*SETS, "loss.label_smoothing=0.9", "optimizer.rate=0.025"]
    said, evidence = one_batch(Session(load_recipe(None, sets), prepare("digits")))
    assert "is being learned" in said, said
    assert evidence["loss_least"] < evidence["loss_last"]


def test_a_loss_falls_from_its_least():
    losses = [2.34, 2.33, 2.32, 2.30, 2.29, 2.28, 2.28, 2.27]
    assert not fell(losses[:4], 2.3026) and fell(losses, 2.3026, 2.2437)
    assert not fell([2.3026] * 8, 2.3026, 2.2437)
    heart = {"one batch": {"decided": "one batch cannot be learned by heart"}, "baseline": {"chance_loss": 2.3026}}  # fmt: skip
    assert call([], losses, heart, "")[1] and not call([], losses, heart, "", 2.2437)[1]
