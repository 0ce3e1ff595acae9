"""The floors, the sizes and "no torch at import" hold; and the rules see a house that breaks them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("house", Path(__file__).with_name("house.py"))
assert spec is not None and spec.loader is not None
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)
ROOT = Path(__file__).parents[2] / "visus"
TREES = [ROOT, ROOT.parent / "tests", ROOT.parent / "benchmarks", ROOT.parent / "docs"]


def test_imports_run_downward_only():
    assert house.wrong_imports(ROOT) == []


def test_no_torch_on_the_ground_in_the_report_and_the_reference():
    assert house.torch_below(ROOT) == []


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_rooms_are_small(tree):
    assert house.oversized(tree) == []


def test_every_room_stands_on_a_floor():
    rooms = {
        p.name.removesuffix(".py")
        for p in ROOT.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert rooms - {"__init__", "__main__", "reference"} <= set(house.LEVEL)


HELP = "import sys, runpy; sys.argv = ['visus', '--help']\ntry: runpy.run_module('visus', run_name='__main__')\nexcept SystemExit: pass\n"


@pytest.mark.parametrize(
    "code", ["import visus", "import visus.report", HELP], ids=["face", "report", "help"]
)
def test_no_torch_at_import(code):
    probe = f"{code}\nimport sys; assert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_broken_house_is_seen(tmp_path):
    root = tmp_path / "visus"
    _write(root, "data/a.py", "def f():\n    from visus.models import build\n")
    _write(root, "layers/b.py", "import visus.training.loop\nfrom visus import errors\n")
    _write(root, "ledger.py", "import torch.nn\n")
    _write(root, "kernels/c.py", "x = 1\n" * 401)
    _write(root, "kernels/d.py", "def f():\n" + "    x = 1\n" * 60)
    assert [line.split(" imports ")[1] for line in house.wrong_imports(root)] == [
        "visus.models",
        "visus.training.loop",
    ]
    assert len(house.torch_below(root)) == 1
    assert len(house.oversized(root)) == 2
    _write(root, "kernels/c.py", "# Long: a table of constants\n" + "x = 1\n" * 401)
    assert len(house.oversized(root)) == 1
