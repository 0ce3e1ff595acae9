"""The layer pages: as the code says, pictures small and the same each time, stale ones seen."""

from __future__ import annotations

import importlib.util
import io
import types
from pathlib import Path

import pytest

from visus.family import Family

pytest.importorskip("matplotlib", reason="the pictures need matplotlib (extra: lab)")
ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
assert spec is not None and spec.loader is not None
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


@pytest.fixture(scope="module")
def drawn() -> dict[Path, str]:
    return build.drawings()


def test_pages_are_as_the_docstrings_say():
    found = [line for line in build.stale(build.texts()) if ".svg" not in line]
    assert found == [], "run: python docs/build.py"


def test_pictures_are_as_the_code_draws_them(drawn):
    found = [line for line in build.stale(drawn) if ".md" not in line]
    assert found == [], "run: python docs/build.py"


def test_pictures_are_small_and_have_no_date(drawn):
    for path, svg in drawn.items():
        assert len(svg) < 100_000, f"{path.name}: {len(svg)} bytes"
        assert "dc:date" not in svg, path.name


def test_a_picture_drawn_twice_is_the_same(drawn):
    from draw import pictures  # pyright: ignore[reportMissingImports]

    for name in ("convolution", "norm-gradients"):
        again = io.StringIO()
        pictures.make(name).savefig(again, format="svg", metadata={"Date": None})
        assert build.slim(again.getvalue()) == drawn[build.OUT / "pictures" / f"{name}.svg"]


def test_every_picture_stands_on_a_page_and_every_topic_has_one(drawn):
    shown = [name for page in build.PAGES.values() for name in page.pictures]
    assert sorted(shown) == sorted(path.stem for path in drawn)
    topics = {topic for page in build.PAGES.values() for topic in page.topics}
    import visus.reference

    assert topics == set(visus.reference.__all__)


@pytest.mark.parametrize(
    ("old", "new"),
    [("stroke: #0b62a4", "stroke: #ff0000"), ("<defs>", "<defs/><defs>"), ("stroke-width: 2", "stroke-width: 3")],
)  # fmt: skip
def test_a_changed_picture_is_seen(drawn, old, new):
    svg = drawn[build.OUT / "pictures" / "activations.svg"]
    assert old in svg
    assert build.same_picture(svg, svg)
    assert not build.same_picture(svg, svg.replace(old, new))
    other = svg.replace("Matplotlib v", "Matplotlib v1.")
    assert build.same_picture(svg, other.replace(old, new)), "another version draws otherwise"


def test_a_changed_missing_or_orphaned_page_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "OUT", tmp_path)
    for name in ("same", "changed", "orphan"):
        (tmp_path / f"{name}.md").write_text(name)
    wanted = {tmp_path / "same.md": "same", tmp_path / "changed.md": "x", tmp_path / "new.md": "y"}
    assert build.stale(wanted) == [
        "changed.md is stale", "new.md is missing", "orphan.md is written by nothing",
    ]  # fmt: skip


def test_docstrings_become_markdown():
    doc = """What.

    Formula, in one
    line:

        y = x

        z = y

    Source: a paper.
    """
    wanted = (
        "What.\n\n**Formula**, in one line:\n\n```text\ny = x\n\nz = y\n```\n\n**Source**: a paper."
    )
    assert build.prose(doc) == wanted


def _package() -> types.ModuleType:
    """A layers package with a class, a function, a family, and things that are not its own."""
    made = types.ModuleType("some.layers")
    shapes = Family("norm")

    class BatchNorm2d:
        """Normalize |x|.

        Formula: y = x.
        """

        def __init__(self, num_features, eps=1e-5, *, act=None): ...

    @shapes.member("batch")
    def batch(channels, *, act=None):
        """Batch norm by name."""

    def swap(model):
        """Swap what can be swapped."""

    for thing in (BatchNorm2d, swap):
        thing.__module__ = "some.layers.norm" if thing is BatchNorm2d else "some.layers.tools"
    vars(made).update(BatchNorm2d=BatchNorm2d, norms=shapes, swap=swap, Path=Path, _hidden=swap)
    return made


def test_layers_and_families_come_from_the_package():
    found = build.layers(_package())
    assert [x.name for x in found] == ["BatchNorm2d", "norms", "swap"]
    assert [build.page_of(x) for x in found] == ["normalization", "normalization", "tools"]
    text = build.page("normalization", found)
    assert "| [`BatchNorm2d`](#batchnorm2d) | Normalize \\|x\\|. |" in text
    assert "BatchNorm2d(num_features, eps=1e-05, *, act=None)" in text
    assert "| `batch` | act=None | Batch norm by name. |" in text
    twin = found[0]._replace(name="BatchNorm3d")
    both = build.page("normalization", [*found, twin])
    assert "[`BatchNorm2d`, `BatchNorm3d`](#batchnorm2d-batchnorm3d)" in both
    assert "### BatchNorm2d, BatchNorm3d" in both
    assert "swap(model)" in build.page("tools", found)
    assert build.layers(None) == []


@pytest.mark.parametrize(
    ("name", "module", "page"),
    [
        ("ASPP", "pool", "atrous"), ("MaxPool2d", "pool", "pooling"), ("Conv2d", "convolution", "convolution"),
        ("ELU", "activation", "activation"), ("Dropout", "regularize", "regularization"),
        ("CrossEntropyLoss", "loss", "loss"), ("he_", "init", "initialization"),
        ("optimize", "optimize", "tools"), ("Linear", "linear", "linear"),
        ("GroupNorm", "group", "normalization"), ("recalibrate", "recalibrate", "normalization"),
    ],
)  # fmt: skip
def test_every_layer_finds_its_page(name, module, page):
    assert build.page_of(build.Layer(name, None, module)) == page
