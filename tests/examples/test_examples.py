"""The parts of the examples do what they say; the programs themselves take minutes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import a module of an example's folder, and forget it afterwards."""
    before = set(sys.modules)

    def load(name: str, folder: str = ""):
        monkeypatch.syspath_prepend(str(EXAMPLES / folder))
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXAMPLES)):
            del sys.modules[name]


def test_the_reader_learns_with_every_norm(example):
    recurrent = example("recurrent")
    torch.manual_seed(0)
    rows, targets = torch.randn(40, 8, 8), torch.arange(40) % 10
    for name, norm in recurrent.NORMS.items():
        task = recurrent.Task(20, 8)
        before = recurrent.error(recurrent.Reader(norm), rows, targets)
        assert recurrent.train(norm, task, 0, (rows, targets), (rows, targets)) < before, name


def test_a_digit_that_starts_later_is_the_same_digit(example):
    recurrent = example("recurrent")
    rows = torch.rand(20, 8, 8) + 1
    later = recurrent.delayed(rows, torch.Generator().manual_seed(0))
    assert later.shape == (20, 16, 8)
    for one, found in zip(rows, later, strict=True):
        begin = next(k for k in range(9) if torch.equal(found[k : k + 8], one))
        assert (found[:begin] == rows.min()).all() and (found[begin + 8 :] == one[-1]).all()


def test_the_painter_keeps_the_size_and_paints_nearer_to_the_style(example):
    paint = example("paint", "style")
    torch.manual_seed(0)

    class Eye:
        network = paint.Features(4, width=4).eval().requires_grad_(False)
        mean, std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)

    photos, style = torch.rand(8, 3, 24, 24), torch.rand(1, 3, 24, 24).round()
    for norm in paint.NORMS:
        painter, losses = paint.painted(norm, Eye, photos, style, 8, 3.0)
        assert painter(photos[:2]).shape == (2, 3, 24, 24) and losses[-1] < losses[0], norm
    gates = [m.gate for m in painter.modules() if hasattr(m, "gate")]
    assert len(gates) == 11 and any(float(gate.detach().min()) < 1 for gate in gates)


def test_the_distance_of_a_picture_to_itself_is_nothing(example):
    paint = example("paint", "style")
    x = torch.rand(2, 3, 8, 8)
    assert float(paint.apart(x, x)) == 0
    assert float(paint.apart(0 * x, x)) == pytest.approx(1, rel=1e-3)
    flat = x.flatten(2)
    expected = torch.einsum("nci,ndi->ncd", flat, flat) / 64
    torch.testing.assert_close(paint.gram(x), expected)


def test_pictures_are_written(example, tmp_path):
    pictures = example("canvas", "style")
    one = torch.rand(3, 12, 16)
    assert pictures.picture(one).size == (16, 12)
    pictures.sheet({"photo": [one, one], "style": [one]}, tmp_path / "a.png")
    pictures.gates({"0.norm": torch.rand(5), "1.norm": torch.rand(9)}, tmp_path / "b.png")
    pictures.curves({"batch": [1.0, 0.5], "instance": [1.0, 0.2]}, tmp_path / "c.png")
    for name in "abc":
        assert (tmp_path / f"{name}.png").stat().st_size > 300
    back = pictures.read([tmp_path / "a.png"], 32)
    assert back.shape == (1, 3, 32, 32) and 0 <= float(back.min()) <= float(back.max()) <= 1
