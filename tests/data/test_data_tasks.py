"""Data of tasks beyond classes: what each form of targets becomes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from visus.data import Jitter, every, prepare
from visus.errors import DataError, UsageError, VisusError
from visus.ledger import Ledger

DRAW = np.random.default_rng(0)


def images(folder, n: int, side: int = 8) -> list[str]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = []
    for i in range(n):
        names.append(f"images/{i:03d}.png")
        pixels = DRAW.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / names[-1])
    return names


def manifest(folder, head: str, rows: list[str]):
    path = folder / "manifest.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISUS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def targets(dataset) -> torch.Tensor:
    return torch.cat([dataset.train.targets[:], dataset.validation.targets[:]])


def test_numbers_are_a_regression_divided_evenly(cache):
    names = images(cache, 100)
    held = prepare(manifest(cache, "path,target", [f"{n},{i / 7}" for i, n in enumerate(names)]))
    assert held.task == "regression" and held.classes == ["target"]
    assert held.train.targets.dtype == torch.float32 and held.train.targets.shape == (80, 1)
    for name, value in zip(held.train.names, held.train.targets[:, 0].tolist(), strict=True):
        assert value == pytest.approx(int(name[7:10]) / 7, rel=1e-6)
    low = held.validation.targets.min() < 3 and held.validation.targets.max() > 11
    assert low, "validation has small and large numbers"


@pytest.mark.parametrize(
    ("head", "row", "task", "classes"),
    [
        ("path,target_x,target_y", lambda i: f"{i / 3},{-i}", "regression", ["x", "y"]),
        ("path,target_a,target_b", lambda i: f"{i / 60},{1 - i / 60}", "distribution", ["a", "b"]),
        ("path,target_a,target_b", lambda i: f"{i % 2},{i % 3 % 2}", "multi-label", ["a", "b"]),
        ("path,target_a,target_b", lambda i: f"{i % 2},{1 - i % 2}", "classification", ["a", "b"]),
        ("path,target", lambda i: ["x;y", "y", ""][i % 3], "multi-label", ["x", "y"]),
        ("path,target", lambda i: str(i % 2), "dichotomy", ["0", "1"]),
        ("path,target", lambda i: str(i % 4), "classification", ["0", "1", "2", "3"]),
    ],
)  # fmt: skip
def test_the_task_is_found_from_the_columns(cache, head, row, task, classes):
    names = images(cache, 60)
    held = prepare(manifest(cache, head, [f"{n},{row(i)}" for i, n in enumerate(names)]))
    assert (held.task, held.classes) == (task, classes)


def test_pairs_are_batches_of_two(cache):
    names = images(cache, 40)
    rows = [f"{names[i]},{names[j]}" for i in range(40) for j in range(i + 1, 40)]
    held = prepare(manifest(cache, "better,worse", rows), ledger=(lines := Ledger()))
    (split,) = [line for line in lines.lines if line["kind"] == "split"]
    parts = (held.train, held.validation, held.vault)
    assert list(split["pairs"].values()) == [len(part) for part in parts]
    assert sum(split["pairs"].values()) < len(rows), "pairs across splits are left out, and told"
    assert held.task == "ranking" and len(held.train) and len(held.validation)
    batch = held.train.batch(torch.tensor([3, 5]))
    assert batch.shape == (4, 3, 8, 8)
    assert held.train.targets[torch.tensor([3, 5])].tolist() == [[3, 1], [3, 0], [5, 1], [5, 0]]
    better, worse = held.train.names[3].split(" > ")
    for k, name in ((0, better), (1, worse)):
        assert np.array_equal(batch[k].permute(1, 2, 0), np.asarray(Image.open(cache / name)))


def pairs_of_masks(folder, n: int = 30, side: int = 8, values: int = 3):
    names = images(folder, n, side)
    (folder / "masks").mkdir(exist_ok=True)
    for name in names:
        mask = DRAW.integers(0, values, (side, side), dtype=np.uint8)
        Image.fromarray(mask).save(folder / name.replace("images", "masks"))
    return names


def test_masks_of_indices_palettes_and_colours(cache):
    folder = cache / "set"
    names = pairs_of_masks(folder)
    index = prepare(folder)
    assert index.task == "segmentation" and index.classes == ["0", "1", "2"]
    assert index.train.targets.dtype == torch.uint8 and index.train.targets.shape[1:] == (8, 8)
    table = np.array([[10, 0, 0], [0, 20, 0], [0, 0, 30]], np.uint8)
    (folder / "classes.csv").write_text(
        "name,red,green,blue\nsky,10,0,0\nvoid,0,20,0\nroad,0,0,30\n"
    )
    for k, name in enumerate(names):
        path = folder / name.replace("images", "masks")
        mask = np.asarray(Image.open(path))
        image = Image.fromarray(table[mask]) if k % 2 else Image.fromarray(mask).convert("P")
        image.save(path)
    colors = prepare(folder)
    assert colors.classes == ["sky", "road"]
    again = torch.tensor([0, 255, 1], dtype=torch.uint8)[index.train.targets.long()]
    assert torch.equal(colors.train.targets, again)


def test_masks_are_cut_as_their_images_are(cache):
    folder = cache / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i in range(30):
        mask = np.zeros((20, 40), np.uint8)
        mask[4:16, 6 + i % 10 : 30] = 1
        Image.fromarray(mask * 255).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    held = prepare(folder, size=10)
    shown = held.train.batch(torch.arange(len(held.train)))[:, 0] > 127
    assert (shown == (held.train.targets == 1)).float().mean() > 0.97


def test_masks_move_with_their_images():
    images_, masks = torch.zeros(6, 1, 9, 9), torch.zeros(6, 9, 9, dtype=torch.uint8)
    images_[:, :, 2:5, 1:7], masks[:, 2:5, 1:7] = 1.0, 1
    for table in (
        {"flip": {}},
        {"crop": {"padding": 3}},
        {"crop": {"padding": 3, "fill": "zero"}},
        {"affine": {"degrees": 40}},
    ):
        jitter = Jitter(table, classes=2)
        seen, moved = jitter(images_, masks, 0, 5)
        assert not torch.equal(moved, masks) and moved.dtype == torch.uint8
        kept = moved != 255
        assert ((seen[:, 0] > 0.5) == (moved == 1))[kept].float().mean() > (
            0.95 if "affine" in table else 0.999
        )
    assert (
        Jitter({"crop": {"padding": 3, "fill": "zero"}}, classes=2)(images_, masks, 0, 5)[1] == 255
    ).any()


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        ("path,target", {3: "nan"}, r"row 5 has target 'nan', which is no finite number"),
        ("path,target", {3: "warm"}, r"row 5 has target 'warm'"),
        ("path,target_a,target_b", {2: "1.5,inf"}, r"row 4 has target_b 'inf'"),
    ],
)  # fmt: skip
def test_a_bad_number_is_named_by_its_row(cache, head, rows, said):
    names = images(cache, 30)
    plain = ",".join(["{0}.5"] * head.count("target"))
    lines = [f"{n},{rows.get(i, plain.format(i))}" for i, n in enumerate(names)]
    with pytest.raises(DataError, match=said) as error:
        prepare(manifest(cache, head, lines))
    assert "\n" not in str(error.value)


def test_a_mask_that_is_missing_or_of_another_size_is_named(cache):
    folder = cache / "set"
    names = pairs_of_masks(folder)
    other = folder / names[7].replace("images", "masks")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(other)
    with pytest.raises(DataError, match=r"mask masks/007.png: 8 x 9 pixels, its image has 8 x 8"):
        prepare(folder)
    other.unlink()
    with pytest.raises(DataError, match=r"image images/007.png has no mask in masks; add 007.png"):
        prepare(folder)
    other.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"mask (masks/)?007.png: cannot be read"):
        prepare(folder)
    (folder / "classes.txt").write_text("sky\nroad\n")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(other)
    with pytest.raises(DataError, match=r"value 2 at row \d, column \d is no class of sky, road"):
        prepare(folder)


def test_pairs_that_contradict_are_refused(cache):
    a, b = images(cache, 2)
    with pytest.raises(DataError, match="the reverse"):
        prepare(manifest(cache, "better,worse", [f"{a},{b}", f"{b},{a}"]))
    with pytest.raises(DataError, match="above itself"):
        prepare(manifest(cache, "better,worse", [f"{a},{a}"]))


def test_a_task_may_be_asked_for_where_it_has_sense(cache):
    names = images(cache, 60)
    path = manifest(cache, "path,target", [f"{n},{i % 3}" for i, n in enumerate(names)])
    assert prepare(path).task == "classification"
    assert prepare(path, task="regression").train.targets.dtype == torch.float32
    assert prepare(path, task="ranking").task == "ranking"
    assert prepare(path, task="multi-label").train.targets.sum(1).eq(1).all()
    with pytest.raises(UsageError, match="has 3 classes, a dichotomy has two"):
        prepare(path, task="dichotomy")
    with pytest.raises(UsageError, match="holds one class an image, and segmentation needs masks"):
        prepare(path, task="segmentation")


def test_arrays_of_numbers_masks_and_shares(cache, tmp_path):
    x = DRAW.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    assert prepare((x, np.linspace(0, 1, 60))).task == "regression"
    assert prepare((x, (x > 128).astype(np.int64))).task == "segmentation"
    assert prepare((x, np.full((60, 4), 0.25))).task == "distribution"
    np.savez(tmp_path / "set.npz", x=x, y=np.stack([np.arange(60) / 7, np.ones(60)], 1))
    assert prepare(tmp_path / "set.npz").classes == ["0", "1"]
    with pytest.raises(DataError, match="missing"):
        prepare((x, np.r_[np.nan, np.linspace(0, 1, 59)]))
    with pytest.raises(VisusError, match="masks"):
        prepare((x, (x[:, :4] > 128).astype(np.int64)))


def test_a_run_goes_on_with_its_split_and_test_stays_in_the_vault(cache, tmp_path):
    names = images(cache, 60)
    path = manifest(cache, "path,target", [f"{n},{i / 7}" for i, n in enumerate(names)])
    first = prepare(path, folder=tmp_path)
    again = prepare(path, folder=tmp_path)
    assert (
        torch.equal(first.train.targets, again.train.targets)
        and first.train.names == again.train.names
    )
    test = first.vault.look("a test", Ledger())
    assert test.targets.shape == (len(first.vault), 1)
    assert len(every(path, first.classes, 3, (8, 8))) == 60
