"""Finds what keeps a network from learning, in any PyTorch program.

with visus.doctor.Doctor(model, optimizer) as doctor: ...   # a loop one can edit
visus.doctor.watch("script.py", [], max_steps=300)          # a script one cannot
visus.doctor.explain("relu-dead")                           # the page of a finding
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visus.doctor.diagnose import explain as explain
    from visus.doctor.watching import Doctor as Doctor
    from visus.doctor.watching import watch as watch

_HOME = {"Doctor": "watching", "watch": "watching", "explain": "diagnose"}


def __getattr__(name: str) -> Any:
    # Torch is imported by Doctor and watch only: pages and letters do without.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_HOME[name]}")
    value = globals()[name] = getattr(module, name)
    return value
