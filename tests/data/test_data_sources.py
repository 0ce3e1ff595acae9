"""Every kind of source gives the images, labels and splits that were put into it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from pictures import classes, noise, save

from visus.data import open_source, prepare
from visus.errors import DataError, UsageError


def everything(dataset):
    """{name: pixels} of all images, the vault's too."""
    from visus.ledger import Ledger

    found = {}
    for part in (dataset.train, dataset.validation, dataset.vault.look("test", Ledger())):
        pixels = part.batch(torch.arange(len(part)))
        for name, image, target in zip(part.names, pixels, part.targets, strict=True):
            found[name] = (image.numpy(), dataset.classes[int(target)])
    return found


def test_class_folders_give_each_file_its_folder(tmp_path):
    classes(tmp_path / "pets", {"dog": 12, "cat": 10, "10": 10, "9": 10})
    save(tmp_path / "pets" / "cat" / "inner" / "deep.png", noise(900))
    data = prepare(tmp_path / "pets")
    assert data.name == "pets" and data.classes == ["9", "10", "cat", "dog"]
    assert (data.channels, data.size) == (3, (10, 12))
    found = everything(data)
    assert len(found) == 43 and found["cat/inner/deep.png"][1] == "cat"
    np.testing.assert_array_equal(found["dog/000.png"][0], noise(0).transpose(2, 0, 1))
    assert all(name.split("/")[0] == label for name, (_, label) in found.items())


@pytest.mark.parametrize("held", ["val", "validation", "Valid"])
def test_split_folders_are_kept(tmp_path, held):
    classes(tmp_path / "train", {"a": 20, "b": 20})
    classes(tmp_path / held, {"a": 3, "b": 2}, first=100)
    classes(tmp_path / "test", {"a": 4, "b": 5}, first=200)
    data = prepare(tmp_path)
    assert data.split.sizes == {"train": 40, "validation": 5, "test": 9}
    assert data.split.how == "as given"
    assert all(name.startswith(f"{held}/") for name in data.validation.names)
    assert data.vault.classes_counts == {"a": 4, "b": 5}


def test_a_missing_split_is_made_from_train_alone(tmp_path):
    classes(tmp_path / "train", {"a": 20, "b": 30})
    classes(tmp_path / "test", {"a": 4, "b": 5}, first=200)
    data = prepare(tmp_path, validation=0.2)
    assert data.split.sizes == {"train": 40, "validation": 10, "test": 9}
    assert {n.split("/")[0] for n in data.validation.names} == {"train"}
    assert "test as given" in data.split.how


ROWS = [(f"pics/{i}.png", "ab"[i % 2], ["train", "val", "test"][i % 3], f"g{i // 4}") for i in range(24)]  # fmt: skip


def manifest(folder, rows=ROWS, header=("path", "target", "split", "group"), delimiter=","):
    for i, row in enumerate(rows):
        save(folder / row[0], noise(i))
    with open(folder / "list.csv", "w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return folder / "list.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_manifest(tmp_path, delimiter):
    data = prepare(manifest(tmp_path, delimiter=delimiter))
    found = everything(data)
    assert {name: label for name, (_, label) in found.items()} == {r[0]: r[1] for r in ROWS}
    assert sorted(data.train.names) == sorted(r[0] for r in ROWS if r[2] == "train")


def test_a_folder_with_a_manifest_is_what_the_manifest_says(tmp_path):
    path = manifest(tmp_path)
    path.rename(tmp_path / "manifest.csv")
    found = open_source(tmp_path)
    assert found.source == str(tmp_path / "manifest.csv")
    assert set(found.classes) == {"a", "b"}


def test_parquet_manifest_is_the_same_as_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = manifest(tmp_path)
    columns = dict(zip(("path", "target", "split", "group"), zip(*ROWS, strict=True), strict=True))
    parquet.write_table(pyarrow.table({k: list(v) for k, v in columns.items()}), tmp_path / "t.parquet")  # fmt: skip
    assert prepare(tmp_path / "t.parquet").split.rows == prepare(path).split.rows


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([("a.png", "")], ("path", "target"), ["1 row without a target", "row 2"]),
        ([("a.png",)], ("path",), ["no column 'target'"]),
        ([("a.png", "x", "tran")], ("path", "target", "split"), ["'tran'", "did you mean 'train'"]),
        ([("a.png", "x"), ("a.png", "y")], ("path", "target"), ["row 2", "row 3", "'x'", "'y'"]),
        ([], ("path", "target"), ["no rows"]),
    ],
)
def test_a_bad_manifest_is_one_line_that_names_the_row(tmp_path, rows, header, words):
    with pytest.raises(DataError) as caught:
        prepare(manifest(tmp_path, rows, header))
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_file_that_the_manifest_names_and_is_not_there_is_named(tmp_path):
    path = manifest(tmp_path)
    (tmp_path / "pics/5.png").unlink()
    with pytest.raises(DataError, match=r"pics/5\.png"):
        prepare(path)
    assert [b.name for b in prepare(path, max_bad=0.1).bad] == ["pics/5.png"]


LAYOUTS = {
    "bytes": lambda x: x,
    "channels first": lambda x: x.transpose(0, 3, 1, 2),
    "floats": lambda x: (x / 255).astype(np.float32),
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.astype(np.uint16) * 257,
    "torch": lambda x: torch.from_numpy(x),
    "list": list,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pair_of_arrays_in_any_layout(layout):
    images = np.stack([noise(i) for i in range(40)])
    data = prepare((LAYOUTS[layout](images), np.arange(40) % 2))
    found = everything(data)
    np.testing.assert_array_equal(found["image-000007"][0], images[7].transpose(2, 0, 1))
    assert found["image-000007"][1] == "1"


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((9, 8)), np.zeros(9), "shape"),
        (np.full((9, 8, 8), -2.0), np.arange(9), "before normalization"),
        (np.zeros((9, 8, 8)), np.zeros(8), "9 images but 8 labels"),
        (np.zeros((9, 8, 8)), np.full(9, np.nan), "missing"),
        (np.zeros((9, 8, 8)), np.array(["a"] * 8 + [""]), "label 8 is empty"),
        (np.zeros((9, 8, 8)), np.array([object()] * 9), "Python objects"),
        (np.zeros((9, 8, 8)), np.zeros(9, int), "only one class"),
        (np.zeros((0, 8, 8)), np.zeros(0, int), "no readable images"),
    ],
)
def test_arrays_that_do_not_fit_are_told_apart(x, y, words):
    with pytest.raises(DataError, match=words):
        prepare((x, y))


class Items(torch.utils.data.Dataset):
    """Images of two sizes, one of them grey."""

    classes = ("low", "high")

    def __len__(self):
        return 30

    def __getitem__(self, i):
        from PIL import Image

        if i == 3:
            return Image.fromarray(noise(i, channels=1)), torch.tensor(1)
        return torch.from_numpy(noise(i, size=(10 + i % 2, 12))).permute(2, 0, 1), i % 2


def test_a_torch_dataset_with_class_names_and_mixed_sizes():
    data = prepare(Items(), size=8)
    assert data.classes == ["low", "high"] and data.size == (8, 8) and data.channels == 3
    assert data.split.sizes == {"train": 24, "validation": 4, "test": 2} or len(data.train) > 20


def test_a_dict_of_splits():
    x, y = np.stack([noise(i) for i in range(30)]), np.arange(30) % 3
    data = prepare({"train": (x[:20], y[:20]), "test": (x[20:], y[20:])}, validation=0)
    assert data.split.sizes == {"train": 20, "validation": 0, "test": 10}
    with pytest.raises(UsageError, match="did you mean 'train'"):
        prepare({"trian": (x, y)})


def test_npz_with_and_without_splits(tmp_path):
    x, y = np.stack([noise(i) for i in range(30)]), np.arange(30) % 3
    np.savez(tmp_path / "a.npz", images=x, labels=y, classes=np.array(["x", "y", "z"]))
    np.savez(
        tmp_path / "b.npz", x_train=x[:20], y_train=y[:20], test_images=x[20:], test_labels=y[20:]
    )
    assert prepare(tmp_path / "a.npz").classes == ["x", "y", "z"]
    data = prepare(tmp_path / "b.npz")
    assert data.split.sizes["test"] == 10 and data.vault.classes_counts == {"0": 3, "1": 3, "2": 4}


def test_npz_with_objects_is_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "t.npz", x=np.array([Trap()], dtype=object), y=np.zeros(1))
    with pytest.raises(DataError, match="Python objects"):
        prepare(tmp_path / "t.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_a_broken_npz_is_one_line(tmp_path, content):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*t\.npz"):
        prepare(tmp_path / "t.npz")


def test_digits_are_all_there():
    data = prepare("digits")
    assert (data.channels, data.size, len(data.classes)) == (1, (8, 8), 10)
    assert sum(data.split.sizes.values()) == 1797
    assert int(data.train.batch(torch.arange(50)).max()) == 255


@pytest.mark.parametrize(
    ("make", "asked", "words"),
    [
        (lambda d: classes(d / "photos", {"a": 1}), "fotos", "did you mean .*photos"),
        (lambda d: None, "digitz", "did you mean 'digits'"),
        (lambda d: (d / "x.zip").write_bytes(b"PK"), "x.zip", "nothing that can be opened"),
    ],
)
def test_a_wrong_path_is_a_usage_error_with_the_nearest(tmp_path, monkeypatch, make, asked, words):
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        prepare(asked)
    assert "\n" not in str(caught.value)


def _flat(folder):
    save(folder / "1.png", noise(0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: None, "is empty"),
        (_flat, "images but no class folders"),
        (lambda d: (d / "notes.txt").write_text("x"), "no class folders"),
        (lambda d: classes(d, {"cat": 9, "dog": 0}), "'dog' has no images.*drop=dog"),
        (lambda d: classes(d, {"cat": 9}), "only one class, 'cat'"),
        (lambda d: classes(d, {"cat": 1, "dog": 9}), r"class 'cat' has 1 image, needs 3 \(train, validation, test\).*drop=cat"),
        (lambda d: (classes(d / "test", {"a": 4, "b": 4}), classes(d / "val", {"a": 3})), "no train folder"),
        (lambda d: (classes(d / "train", {"a": 9, "b": 9}), classes(d / "test", {"c": 1})), "'c'.*not in train|'c' is in test"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_used_say_what_to_do(tmp_path, make, words):
    folder = tmp_path / "d"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=words) as caught:
        prepare(folder)
    assert "\n" not in str(caught.value)


def test_dropped_classes_are_gone_even_empty_ones(tmp_path):
    classes(tmp_path, {"cat": 9, "dog": 9, "one": 1, "none": 0})
    assert prepare(tmp_path, drop=("one", "none")).classes == ["cat", "dog"]
    with pytest.raises(UsageError, match="did you mean 'cat'"):
        open_source(tmp_path, drop=("cats",))
