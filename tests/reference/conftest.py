"""The oracle of this folder is importable by its name; each test draws its own random numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _own_random_numbers(request, monkeypatch):
    """A test module's `rng` starts anew, so that no test depends on those that ran before."""
    if hasattr(request.module, "rng"):
        monkeypatch.setattr(request.module, "rng", np.random.default_rng(0))
