"""What every test shares: one thread, a quiet home for caches, the development data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's background job ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
