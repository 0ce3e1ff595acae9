"""The audit inside a training: cheap, on record, for every task, and no reason to stop."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch

from visus.api import audit_copies, audit_net
from visus.api.audit import audit
from visus.data import prepare
from visus.ledger import Ledger, select

DRAW = np.random.default_rng(0)


def pictures(n, side=8):
    return DRAW.integers(0, 256, (n, 3, side, side), dtype=np.uint8)


SETS = {
    "classification": lambda x: (x, np.arange(len(x)) % 3),
    "regression": lambda x: (x, np.linspace(0, 1, len(x))),
    "multi-label": lambda x: (x, np.stack([np.arange(len(x)) % 2, np.arange(len(x)) % 3 % 2], 1)),
    "distribution": lambda x: (x, np.full((len(x), 4), 0.25)),
    "segmentation": lambda x: (x, (x[:, 0] > 128).astype(np.int64)),
}


@pytest.mark.parametrize("task", SETS)
def test_every_task_is_audited(task, tmp_path, monkeypatch):
    monkeypatch.setenv("VISUS_CACHE", str(tmp_path))
    held, ledger = prepare(SETS[task](pictures(60))), Ledger()
    done = audit(held, ledger, cheap=True)
    assert held.task == task and not done.errors and done.said
    assert done.facts["copies"]["pairs"] == 0 and len(select(ledger.lines, "audit")) == 1
    full = audit(held, seconds=0.0)
    assert not full.errors and ("labels" in full.facts) == (task == "classification")


def test_digits_are_sound_and_the_look_at_pixels_is_on_record():
    for seed in (0, 1, 2):
        held, ledger = prepare("digits", seed=seed), Ledger()
        start = time.process_time()
        done = audit(held, ledger, cheap=True)
        assert time.process_time() - start < 1.2  # 2 % of a minute
        assert not done.findings and not done.errors
        assert select(ledger.lines, "pixels")[0]["n"] == len(held.vault)
        assert held.vault.looks(ledger) == 0


@pytest.mark.parametrize("part", ["find_copies", "channels", "pixels"])
def test_what_fails_is_one_note_and_the_rest_is_done(part, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no such luck\nsecond line")

    monkeypatch.setattr(audit_copies.parts, part, broken)
    ledger = Ledger()
    done = audit(prepare("digits"), ledger, cheap=True)
    (error,) = done.errors
    assert error.endswith("could not be done: no such luck")
    assert [line["text"] for line in select(ledger.lines, "note")] == [error]
    assert part == "pixels" or select(ledger.lines, "audit")


def test_ctrl_c_is_no_error_of_a_part(monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(audit_copies.parts, "find_copies", stopped)
    with pytest.raises(KeyboardInterrupt):
        audit(prepare("digits"), cheap=True)


def test_many_images_are_sampled_and_compared_by_checksum(monkeypatch, tmp_path):
    monkeypatch.setenv("VISUS_CACHE", str(tmp_path))
    monkeypatch.setattr(sys.modules["visus.api.audit"], "BRIEF", 1e-9)
    x = pictures(200)
    x[150] = x[3]
    done = audit(prepare((x, np.arange(200) % 2)), cheap=True)
    assert done.facts["channels"]["of"] <= 100 and not done.facts["copies"]["near"]
    assert done.facts["copies"]["exact"] == 1


def test_folds_share_every_class_evenly():
    targets = torch.tensor([0] * 50 + [1] * 9 + [2])
    fold = audit_net.dealt(targets, 3)
    assert sorted(torch.bincount(fold).tolist()) == [20, 20, 20]
    assert sorted(torch.bincount(fold[targets == 1], minlength=3).tolist()) == [3, 3, 3]


def test_small_nets_name_wrong_labels_of_digits(monkeypatch):
    monkeypatch.setattr(audit_net, "FOLDS", (3,))
    monkeypatch.setattr(audit_net, "MOST", 5)
    held = prepare("digits")
    true, draw = held.train.targets, torch.Generator().manual_seed(0)
    wrong = torch.rand(len(true), generator=draw) < 0.1
    given = torch.where(wrong, (true + torch.randint(1, 10, true.shape, generator=draw)) % 10, true)
    before = torch.random.get_rng_state()
    seen = audit_net.held_out(held.train, given, 10, seconds=120.0)
    assert seen is not None and seen.folds == 3
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.allclose(seen.probabilities.sum(1), torch.ones(len(true)), atol=1e-5)
    named = audit_copies.parts.suspects(seen.probabilities, given)
    hits = wrong[named.rows[: named.wrong]]
    assert named.judged and 0.06 < named.share < 0.15
    assert hits.float().mean() > 0.8 and hits.sum() > 0.6 * wrong.sum()


def test_without_time_no_net_is_trained():
    held = prepare("digits")
    assert audit_net.held_out(held.train, held.train.targets, 10, seconds=0.0) is None
