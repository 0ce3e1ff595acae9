"""A bad division is treated before the first step: copies and groups on one side, a given test untouched."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import load_file

import visus.data
from visus import api, ledger
from visus.api.procedure_record import Record
from visus.data import Again, Split, prepare

SETS = ["model=cnn", "model.width=4", "model.stages=1", "training.threads=1", "training.precision=float32",
        "training.epochs=1", "training.checkpoint_every=none", "jitter=none", "optimizer.rate=0.05"]  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISUS_CACHE", str(tmp_path / "cache"))


def pictures(n, draw):
    """Smooth patterns of three classes, each with its own direction, and a little noise."""
    y = np.arange(n) % 3
    u, v = np.meshgrid(np.arange(16), np.arange(16))
    a, b = (draw.uniform(0.2, 1.2, n)[:, None, None] for _ in "ab")
    wave = np.sin(a * u + (y[:, None, None] - 1) * b * v + draw.uniform(0, 6, n)[:, None, None])
    return (128 + 80 * wave + draw.normal(0, 6, (n, 16, 16))).clip(0, 255).astype(np.uint8), y


def held(folder, **arrays):
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def train(folder, data, **how):
    return api.train(data, out=folder / "run", set=SETS, **how)


def staged(run):
    return {x["name"]: x for x in ledger.select(ledger.read(run.folder), "stage")}


def brighter(x):
    """The same pictures, encoded again: near copies, of other bytes."""
    return np.clip(x.astype(int) + 3, 0, 255).astype(np.uint8)


def test_near_copies_come_to_one_side(tmp_path):
    x, y = pictures(240, np.random.default_rng(0))
    path = held(tmp_path, x=np.concatenate([x, brighter(x)]), y=np.concatenate([y, y]))
    before = Split.read(api.train(path, out=tmp_path / "off", set=SETS, cure=False).folder)
    run = train(tmp_path, path)
    after = Split.read(run.folder)
    assert torn(before) > 20 and torn(after) == 0
    told = staged(run)["re-split"]
    assert (
        told["evidence"]["across_before"] == torn(before) and told["evidence"]["across_after"] == 0
    )
    assert told["evidence"]["steps_spent"] == 0 and "no step were lost" in told["decided"]
    assert sum(after.sizes.values()) == 480 and "re-split" not in staged(api.Run(tmp_path / "off"))
    (look,) = {x["n"] for x in ledger.select(ledger.read(run.folder), "look") if "n" in x}
    assert look == after.sizes["test"]


def torn(split):
    """Images whose brighter (or darker) twin is in another part: names are numbers, twins 240 apart."""
    place = {int(n.split("-")[-1]): part for part in split.rows for n, _, _ in split.rows[part]}
    apart = [i for i in range(240) if place[i] != place[i + 240]]
    return len(apart)


def test_a_given_test_set_is_untouched_and_its_copies_leave_training(tmp_path):
    x, y = pictures(300, np.random.default_rng(1))
    x_train, y_train = np.concatenate([x[:200], x[280:]]), np.concatenate([y[:200], y[280:]])
    path = held(tmp_path, x_train=x_train, y_train=y_train, x_val=x[200:240], y_val=y[200:240],
                x_test=x[240:], y_test=y[240:])  # fmt: skip
    before, run = prepare(path).split, train(tmp_path, path)
    after, told = Split.read(run.folder), staged(run)["re-split"]
    assert before.leaks == 20 and after.leaks == 0
    assert after.rows["test"] == before.rows["test"] and told["evidence"]["test_untouched"]
    assert after.rows["validation"] == before.rows["validation"]
    assert told["evidence"]["left_out"] == 20 and after.sizes["train"] == 200
    assert (
        "20 copies left out" in told["decided"] and "the test set is as it was" in told["decided"]
    )


def test_a_validation_set_of_other_shares_is_drawn_anew(tmp_path):
    x, y = pictures(400, np.random.default_rng(2))
    order = np.argsort(y, kind="stable")
    val = order[:60]  # of the first class alone
    rest = np.setdiff1d(order, val)
    path = held(tmp_path, x_train=x[rest[60:]], y_train=y[rest[60:]], x_val=x[val], y_val=y[val],
                x_test=x[rest[:60]], y_test=y[rest[:60]])  # fmt: skip
    run = train(tmp_path, path)
    after, told = Split.read(run.folder), staged(run)["re-split"]
    assert told["evidence"]["class_p_before"] < 1e-6 and told["evidence"]["class_p_after"] > 0.5
    counts = after.counts()["validation"]
    assert min(counts.values()) > 10 and abs(after.sizes["validation"] - 60) <= 3
    assert told["evidence"]["test_untouched"]


def test_groups_across_given_splits_count_and_come_together(tmp_path):
    x, y = pictures(120, np.random.default_rng(3))
    for i, image in enumerate(x):
        save(tmp_path / f"{i:03d}.png", image)
    rows = [
        f"{i:03d}.png,c{y[i]},{'validation' if i >= 100 else 'train'},g{i // 2 if i < 90 else i % 10}"
        for i in range(120)
    ]
    (tmp_path / "set.csv").write_text("\n".join(["path,target,split,group", *rows]) + "\n")
    dataset = prepare(tmp_path / "set.csv", seed=0, test=0.0)
    assert dataset.split.leaks == 20
    other = prepare(tmp_path / "set.csv", seed=0, test=0.0, again=Again()).split
    assert other.leaks == 0 and other.rows["validation"] == dataset.split.rows["validation"]


def save(path, image):
    from PIL import Image

    Image.fromarray(image).save(path)


def test_it_is_asked_about_and_a_no_is_kept(tmp_path):
    x, y = pictures(240, np.random.default_rng(0))
    path = held(tmp_path, x=np.concatenate([x, brighter(x)]), y=np.concatenate([y, y]))
    heard = []
    run = train(tmp_path, path, cure=lambda line: heard.append(line) or False)
    assert heard[0]["remedy"] == "re-split" and "divided anew" in heard[0]["said"]
    assert torn(Split.read(run.folder)) > 20
    assert "declined by the user" in staged(run)["re-split"]["decided"]


@pytest.mark.parametrize("moment", ["data audit", "re-split", "record"])
def test_a_run_killed_meanwhile_is_divided_alike(tmp_path, monkeypatch, moment):
    """Before it was decided, after, and before it was done: the same split, decided once."""
    x, y = pictures(240, np.random.default_rng(0))
    path = held(tmp_path, x=np.concatenate([x, brighter(x)]), y=np.concatenate([y, y]))
    whole = train(tmp_path, path)

    def killed(*_):
        raise KeyboardInterrupt

    told = Record.stage
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if moment == "record":
            patched.setattr(visus.data, "record", killed)
        else:
            patched.setattr(Record, "stage", lambda self, name, *r: killed() if name == moment else told(self, name, *r))  # fmt: skip
        api.train(path, out=tmp_path / "cut", set=SETS)
    run = api.train(path, resume=tmp_path / "cut")
    assert Split.read(run.folder).sha256 == Split.read(whole.folder).sha256
    found = [x for x in ledger.select(ledger.read(run.folder), "stage") if x["name"] == "re-split"]
    assert len(found) == 1
    one, two = (load_file(r.folder / "model.safetensors") for r in (whole, run))
    assert all(one[k].equal(two[k]) for k in one)


def test_digits_are_divided_once(tmp_path):
    run = train(tmp_path, "digits")
    assert "re-split" not in staged(run)
