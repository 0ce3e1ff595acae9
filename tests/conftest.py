"""What every test shares: one thread, a quiet home for caches, the development data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """The user's cache folder is never read or written by a test."""
    monkeypatch.setenv("VISUS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def visus_data() -> Path:
    """The folder of development archives; skips with the reason where it is missing."""
    folder = os.environ.get("VISUS_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("VISUS_DATA names no folder of development data")
    return Path(folder)
