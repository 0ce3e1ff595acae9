"""visus: trains networks that see, measures how well they learn, cures what keeps them from it.

The names below are loaded when they are first used, so that `import visus` stays free of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from visus.api import Run, Study, evaluate, export, inspect, predict, train, tune
    from visus.doctor import Doctor, explain, watch
    from visus.layers.optimize import optimize, restore

_FACE = {
    "Doctor": "visus.doctor",
    "Run": "visus.api",
    "Study": "visus.api",
    "evaluate": "visus.api",
    "explain": "visus.doctor",
    "export": "visus.api",
    "inspect": "visus.api",
    "optimize": "visus.layers.optimize",
    "predict": "visus.api",
    "restore": "visus.layers.optimize",
    "train": "visus.api",
    "tune": "visus.api",
    "watch": "visus.doctor",
}
__all__ = [
    "Doctor", "Run", "Study", "evaluate", "explain", "export", "inspect", "optimize", "predict", "restore", "train", "tune",
    "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'visus' has no attribute '{name}'; it has {', '.join(_FACE)}")
    return getattr(importlib.import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FACE])
