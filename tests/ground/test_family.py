"""Families: definition is registration, unknown names and options name the nearest."""

from __future__ import annotations

import importlib
import sys

import pytest

from visus.errors import RecipeError, UsageError, VisusError, nearest, unknown
from visus.family import Family, kebab


def make() -> Family:
    shapes = Family("shape")

    @shapes.member
    class RoundBox:
        def __init__(self, side, *, radius: float = 0.5):
            self.side, self.radius = side, radius

    @shapes.member("disc")
    def circle(radius=1.0):
        return radius

    return shapes


def test_names_come_from_the_definition():
    assert list(make()) == ["round-box", "disc"]
    assert kebab("OneCycle") == kebab("one_cycle") == "one-cycle"


def test_options_are_the_parameters_with_a_default():
    assert list(make().options("round-box")) == ["radius"]
    assert make().make("round-box", 3, radius=2).radius == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: f["roundbox"], "shape: unknown name 'roundbox'; did you mean 'round-box'?"),
        (
            lambda f: f.make("disc", radios=1),
            "shape 'disc': unknown name 'radios'; did you mean 'radius'?",
        ),
        (lambda f: f["zzz"], "known: disc, round-box"),
    ],
)
def test_unknown_names_the_nearest(call, words):
    with pytest.raises(RecipeError, match="unknown") as caught:
        call(make())
    assert words in str(caught.value)


def test_a_second_definition_of_a_name_is_refused():
    shapes = make()
    with pytest.raises(ValueError, match="twice"):
        shapes.member("disc")(lambda: None)


def test_a_reloaded_definition_is_the_same_member():
    shapes = make()
    for _ in range(2):

        def helper():
            return 1

        shapes.member("helper")(helper)
    assert shapes["helper"] is helper


def test_a_package_is_imported_at_the_first_look(tmp_path, monkeypatch):
    package = tmp_path / "lazy_shapes"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from visus.family import Family\nshapes = Family('shape', package=__name__)\n"
    )
    (package / "square.py").write_text(
        "from lazy_shapes import shapes\n@shapes.member\ndef square(side=1): return side\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shapes = importlib.import_module("lazy_shapes").shapes
    assert "lazy_shapes.square" not in sys.modules
    assert "square" in shapes
    assert len(shapes) == 1


def test_a_member_that_cannot_be_imported_never_leaves_half_a_family(tmp_path, monkeypatch):
    package = tmp_path / "half_a_family"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from visus.family import Family\nthings = Family('thing', package=__name__)\n"
    )
    (package / "a.py").write_text(
        "from half_a_family import things\n@things.member\ndef one(): pass\n"
    )
    (package / "b.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    things = importlib.import_module("half_a_family").things
    for _ in range(2):
        with pytest.raises(SyntaxError):
            list(things)


def test_errors_carry_their_exit_status():
    assert (VisusError.status, UsageError.status, RecipeError.status) == (1, 2, 2)
    assert nearest("optimiser", ["optimizer", "model"]) == "optimizer"
    assert nearest("qqqq", ["optimizer"]) is None
    assert unknown("x", "a", []) == "x: unknown name 'a'; known: none"
