"""Vault, channel statistics, order of batches, thumbnails, the ledger's lines."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import noise
from PIL import Image

from visus import ledger as book
from visus.data import (
    Vault,
    batch_indices,
    describe,
    epoch_order,
    prepare,
    steps_per_epoch,
    thumbnail,
)
from visus.data.decoding import plane_moments
from visus.data.moments import channel_statistics
from visus.errors import UsageError
from visus.ledger import Ledger


def arrays(n=60, channels=3):
    return np.stack([noise(i, channels=channels) for i in range(n)]), np.arange(n) % 3


def test_each_look_is_a_line_that_the_next_process_counts(tmp_path):
    data = prepare(arrays())
    assert len(data.vault) == 6 and data.vault.classes_counts == {"0": 2, "1": 2, "2": 2}
    for number in (1, 2, 3):
        ledger = Ledger(tmp_path)  # as a new process would
        assert len(data.vault.look(f"reason {number}", ledger)) == 6
        line = book.last(book.read(tmp_path), "look")
        assert line and (line["number"], line["reason"], line["n"]) == (
            number,
            f"reason {number}",
            6,
        )
        ledger.write("look", number=number, reason="seen", n=6, error=0.5)  # of the same look
        assert Vault.looks(ledger) == number


def test_the_vault_has_no_other_door():
    data = prepare(arrays())
    public = {name for name in dir(data.vault) if not name.startswith("_")}
    assert public == {"look", "looks", "classes_counts"}
    for reason, ledger in (("", Ledger()), ("why", None)):
        with pytest.raises(UsageError):
            data.vault.look(reason, ledger)
    with pytest.raises(TypeError):
        data.vault[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_train_alone(channels):
    data = prepare(arrays(channels=channels))
    pixels = data.train.batch(torch.arange(len(data.train))).numpy() / 255
    np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(data.std, pixels.std((0, 2, 3)), rtol=1e-13)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_a_constant_channel_has_deviation_exactly_zero(n, side, value):
    pixels = np.full((n, 1, side, side), value, np.uint8)
    mean, std = channel_statistics(plane_moments(pixels), side * side)
    assert std == [0.0] and mean == [value / 255]


@given(st.integers(0, 300), st.integers(1, 64), st.integers(0, 2**62), st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_epoch_takes_each_image_at_most_once(n, size, seed, drop):
    steps = steps_per_epoch(n, size, drop_last=drop)
    seen = [batch_indices(n, size, seed, steps + i, drop_last=drop) for i in range(steps)]
    taken = torch.cat([torch.zeros(0, dtype=torch.int64), *seen]).tolist()
    assert len(set(taken)) == len(taken) and all(0 <= i < n for i in taken)
    assert len(taken) == (n if not drop else min(n, steps * size))
    if drop:
        assert {len(part) for part in seen} <= {min(n, size)}


def test_orders_depend_on_seed_and_epoch_and_not_on_torchs_generator():
    before = torch.get_rng_state()
    a = epoch_order(100, 1, 0)
    torch.rand(5)
    assert torch.equal(a, epoch_order(100, 1, 0))
    assert sorted(a.tolist()) == list(range(100))
    others = [epoch_order(100, 1, 1), epoch_order(100, 2, 0), epoch_order(100, 1 + 2**32, 0)]
    assert all(not torch.equal(a, other) for other in others)
    torch.set_rng_state(before)
    epoch_order(10, 3, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_is_a_copy_in_the_order_asked_for():
    data = prepare(arrays())
    both = data.train.batch(torch.tensor([5, 2, 5]))
    assert both.dtype == torch.uint8 and torch.equal(both[0], both[2])
    both.zero_()
    assert data.train.batch(torch.tensor([5])).any()
    for index in (-1, len(data.train)):
        with pytest.raises(UsageError, match=f"index {index} of"):
            data.train.batch(torch.tensor([0, index]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_is_the_picture(channels):
    pixels = torch.from_numpy(noise(1, (10, 12), channels).reshape(10, 12, -1)).permute(2, 0, 1)
    image = Image.open(io.BytesIO(base64.b64decode(thumbnail(pixels))))
    seen = np.asarray(image).reshape(10, 12, -1)
    np.testing.assert_array_equal(seen, pixels.permute(1, 2, 0).numpy())
    assert thumbnail(pixels.float() / 255) == thumbnail(pixels)
    large = Image.open(io.BytesIO(base64.b64decode(thumbnail(torch.zeros(3, 300, 500)))))
    assert max(large.size) == 96


def test_the_ledger_gets_the_lines_of_the_design():
    ledger = Ledger()
    data = prepare(arrays(), ledger=ledger)
    line, split = ledger.lines
    assert (line["kind"], split["kind"]) == ("data", "split")
    wanted = {"source", "classes", "channels", "size", "bad", "mean", "std", "counts"}
    assert wanted <= set(line) and {"how", "sizes", "file", "sha256"} <= set(split)
    assert sum(line["counts"]["train"].values()) == split["sizes"]["train"] == len(data.train)
    assert describe(data)["size"] == [10, 12]
