"""Quarantine and balance of the classes: who is drawn, how often, and how much it weighs."""

from __future__ import annotations

import pytest
import tiny_data
import torch

from visus.errors import RecipeError
from visus.training import Session, load_recipe
from visus.training.selection import balanced, class_weights, evenly, trusted

TINY = [
    "model=cnn",
    "model.width=4",
    "epochs=2",
    "batch_size=8",
    "optimizer.rate=0.05",
    "training.threads=1",
]


def skewed():
    data = tiny_data.blobs(n=90)
    keep = torch.cat([(data.train.targets == 0).nonzero()[:, 0], (data.train.targets == 1).nonzero()[:4, 0],
                      (data.train.targets == 2).nonzero()[:9, 0]])  # fmt: skip
    return tiny_data.Tiny(tiny_data.Images(data.train.pixels[keep], data.train.targets[keep]),
                          data.validation, data.classes)  # fmt: skip


def test_balanced_draws_every_class_equally_often():
    images = skewed().train
    drawn = balanced(images)
    counts = torch.bincount(drawn.targets)
    assert set(counts.tolist()) == {int((images.targets == 0).sum())}
    assert set(drawn.names) == set(images.names)
    assert torch.equal(drawn.batch(torch.tensor([3])), images.batch(drawn.rows[3:4]))


@pytest.mark.parametrize(("n", "most"), [(0, 5), (1, 5), (5, 5), (7, 5), (1001, 128)])
def test_a_few_are_evenly_spread(n, most):
    rows = evenly(n, most)
    assert len(rows) == min(n, most) and rows.unique().equal(rows)
    if n > most:
        gaps = rows.diff()
        assert rows[0] == 0 and rows[-1] >= n - n / most - 1
        assert int(gaps.max() - gaps.min()) <= 1


def test_a_data_driven_init_sees_all_classes():
    """Of images that stand class by class, as folders do."""
    data = tiny_data.blobs(n=900)
    order = data.train.targets.argsort(stable=True)
    images, seen = tiny_data.Images(data.train.pixels[order], data.train.targets[order]), []
    images.batch = lambda rows: seen.append(rows) or data.train.batch(order[rows])  # type: ignore
    Session(
        load_recipe(None, [*TINY, "init=data"]),
        tiny_data.Tiny(images, data.validation, data.classes),
    )
    counts = [torch.bincount(images.targets[rows], minlength=len(data.classes)) for rows in seen]
    assert any(int(rows.sum()) == 128 and int(rows.min()) > 30 for rows in counts), counts


def test_weights_make_all_classes_count_alike():
    images = skewed().train
    weights = class_weights(images, 3)
    sums = [float(weights[k]) * int((images.targets == k).sum()) for k in range(3)]
    assert sums == pytest.approx([len(images) / 3] * 3)


def test_the_quarantined_are_not_drawn_and_an_unknown_name_is_one_line():
    images = skewed().train
    kept = trusted(images, ["image-1", "image-2"])
    assert len(kept) == len(images) - 2 and not {"image-1", "image-2"} & set(kept.names)
    assert trusted(images, ()) is images
    with pytest.raises(RecipeError, match=r"'nobody'.*leave it out"):
        trusted(images, ["nobody"])
    with pytest.raises(RecipeError, match="without training images"):
        trusted(images, [n for n, t in zip(images.names, images.targets.tolist(), strict=True) if t == 1])  # fmt: skip


@pytest.mark.parametrize("sets", [["training.balance=sampling"], ["training.balance=weights"],
                                  ['training.quarantine=["image-3"]']])  # fmt: skip
def test_a_session_trains_with_them_as_long_as_without(sets):
    plain = Session(load_recipe(None, TINY), skewed())
    made = Session(load_recipe(None, [*TINY, *sets]), skewed())
    assert abs(made.feed.per_epoch - plain.feed.per_epoch) <= 1
    steps = list(made.run())
    assert len(steps) == 2 * made.feed.per_epoch and made.finished == "done"


def test_weights_go_with_a_loss_that_takes_them():
    with pytest.raises(RecipeError, match="choose sampling"):
        Session(load_recipe(None, [*TINY, "training.balance=weights", "loss=l2"]), skewed())
