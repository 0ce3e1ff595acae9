"""The split: stratified, by group, a function of the seed, kept by the run."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import classes, noise, save

from visus.data import Split, prepare
from visus.data.divide import divide
from visus.errors import DataError, RunError, UsageError
from visus.ledger import Ledger

SHARES = {"validation": 0.1, "test": 0.2}


def parts_of(labels, split):
    return {part: Counter(k for k, p in zip(labels, split, strict=True) if p == part)
            for part in ("train", "validation", "test")}  # fmt: skip


@given(st.lists(st.integers(3, 60), min_size=1, max_size=6), st.integers(0, 2**40),
       st.floats(0.01, 0.49), st.floats(0.01, 0.49))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_class_is_divided_by_the_shares_rounded(counts, seed, validation, test):
    labels = [str(k) for k, n in enumerate(counts) for _ in range(n)]
    shares = {"validation": validation, "test": test}
    parts = parts_of(labels, divide(labels, [[str(i)] for i in range(len(labels))], shares, seed))
    for k, n in enumerate(counts):
        assert parts["train"][str(k)] >= 1
        for part, share in shares.items():
            assert parts[part][str(k)] >= 1 and abs(parts[part][str(k)] - share * n) <= 1.5


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=12, max_size=120),
       st.integers(0, 9))  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_group_is_never_in_two_parts(rows, seed):
    labels = [str(k) for k, _ in rows]
    groups = [f"g{g}" for _, g in rows]
    keys = [[str(i), group] for i, group in enumerate(groups)]
    try:
        split = divide(labels, keys, SHARES, seed)
    except DataError as error:
        assert "group" in str(error) or "image" in str(error)
        return
    for group in set(groups):
        assert len({p for p, g in zip(split, groups, strict=True) if g == group}) == 1
    parts = parts_of(labels, split)
    assert all(set(parts[part]) == set(labels) for part in parts)


def test_the_place_of_an_image_depends_on_seed_and_image_and_not_on_the_order():
    labels = ["a", "b"] * 50
    keys = [[f"image {i}"] for i in range(100)]
    first = dict(zip(map(tuple, keys), divide(labels, keys, SHARES, 7), strict=True))
    back = divide(labels[::-1], keys[::-1], SHARES, 7)
    assert dict(zip(map(tuple, keys[::-1]), back, strict=True)) == first
    assert divide(labels, keys, SHARES, 8) != list(first.values())


def test_groups_of_people_are_divided_near_the_shares():
    groups = [f"person {i // 20}" for i in range(1000)]
    labels = ["ab"[i % 2] for i in range(1000)]
    split = Counter(divide(labels, [[str(i), g] for i, g in enumerate(groups)], SHARES, 0))
    assert abs(split["validation"] - 100) <= 20 and abs(split["test"] - 200) <= 20


def test_a_class_in_too_few_groups_is_an_error_that_says_so():
    with pytest.raises(DataError, match=r"'a' has 9 images in 1 group .*needs 3.*drop=a"):
        divide(["a"] * 9 + ["b"] * 9, [["g"]] * 9 + [[str(i)] for i in range(9)], SHARES, 0)


def test_copies_are_kept_together_and_those_of_the_user_are_counted(tmp_path):
    classes(tmp_path / "one", {"a": 30, "b": 30})
    for i in range(12):
        save(tmp_path / "one" / "a" / f"copy{i}.png", noise(3))
    data = prepare(tmp_path / "one", test=0.3)
    held = [p for p, rows in data.split.rows.items() for n, _, _ in rows if "copy" in n or n == "a/003.png"]  # fmt: skip
    assert len(held) == 13 and len(set(held)) == 1 and data.split.leaks == 0
    classes(tmp_path / "two" / "train", {"a": 20, "b": 20})
    classes(tmp_path / "two" / "test", {"a": 4, "b": 4})  # the first of train's once more
    ledger = Ledger()
    assert prepare(tmp_path / "two", ledger=ledger).split.leaks == 8
    assert ledger.lines[0]["leaks"] == 8


def test_shares_may_be_zero_and_must_leave_train_images(tmp_path):
    classes(tmp_path, {"a": 10, "b": 1})
    data = prepare(tmp_path, validation=0, test=0)
    assert data.split.sizes == {"train": 11, "validation": 0, "test": 0} and len(data.vault) == 0
    assert data.validation.batch(torch.zeros(0, dtype=torch.int64)).shape == (0, 3, 10, 12)
    with pytest.raises(UsageError, match="leave no train images"):
        prepare(tmp_path, validation=0.5, test=0.5)


def test_the_run_keeps_its_split_whatever_the_seed_says_later(tmp_path):
    classes(tmp_path / "d", {"a": 30, "b": 30})
    (tmp_path / "run").mkdir()
    ledger = Ledger()
    first = prepare(tmp_path / "d", seed=1, folder=tmp_path / "run", ledger=ledger)
    lines = (tmp_path / "run" / "split.json").read_text()
    assert json.loads(lines)["sizes"] == first.split.sizes
    assert ledger.lines[1]["sha256"] == first.split.sha256
    save(tmp_path / "d" / "a" / "new.png", noise(99, (500, 500)))
    again = prepare(tmp_path / "d", seed=2, folder=tmp_path / "run")
    assert again.split == first.split and again.split.sha256 == first.split.sha256
    assert again.train.names == first.train.names and again.size == first.size
    assert again.mean == first.mean and torch.equal(again.train.targets, first.train.targets)
    assert (tmp_path / "run" / "split.json").read_text() == lines
    assert Split.read(tmp_path / "run") == first.split


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda p: save(p, noise(77)), "a/004.png has changed"),
        (lambda p: p.unlink(), "a/004.png is gone"),
        (lambda p: p.write_bytes(b""), "a/004.png has changed"),
        (lambda p: (p.unlink(), p.mkdir()), "a/004.png is gone"),
        (lambda p: p.rename(p.parent.parent / "b" / "moved.png"), "a/004.png is gone"),
    ],
)
def test_a_run_whose_images_changed_says_which(tmp_path, harm, words):
    classes(tmp_path / "d", {"a": 30, "b": 30})
    (tmp_path / "run").mkdir()
    prepare(tmp_path / "d", folder=tmp_path / "run")
    harm(tmp_path / "d" / "a" / "004.png")
    with pytest.raises(DataError, match=words) as caught:
        prepare(tmp_path / "d", folder=tmp_path / "run", max_bad=0.5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"train": []}'])
def test_a_damaged_split_file_is_one_line(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(RunError, match="cannot read"):
        Split.read(tmp_path)


def test_odd_names_survive_the_split_file(tmp_path):
    classes(tmp_path / "d", {"ünï 犬": 9, 'quo"te': 9})
    (tmp_path / "run").mkdir()
    data = prepare(tmp_path / "d", folder=tmp_path / "run")
    assert Split.read(tmp_path / "run").rows == data.split.rows
