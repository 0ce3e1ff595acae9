"""The doctor in the training loops of others: one thin callback a framework.

    trainer = lightning.Trainer(callbacks=[LightningDoctor()])         # Lightning
    learn.fit(3, cbs=[FastaiDoctor()])                                 # fastai
    trainer = transformers.Trainer(..., callbacks=[TransformersDoctor()])   # Hugging Face Trainer
    model.fit(x, y, callbacks=[KerasDoctor()])                         # Keras on torch

Each opens a `visus.Doctor` when training begins, closes it when training ends, and prints the
letter to standard error (`say=None` keeps it silent). `findings` and `letter()` stay on the
callback. Options other than `say` go to `visus.Doctor`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from visus.errors import UsageError

_HOME = {
    "LightningDoctor": "lightning",
    "FastaiDoctor": "fastai",
    "TransformersDoctor": "transformers",
    "KerasDoctor": "keras",
}


def __getattr__(name: str) -> Any:
    # A framework is imported only by those who use it.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def framework(package: str, module: str, install: str) -> Any:
    """Import `module` of a framework; `UsageError` with the way out where it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"callbacks: {package} cannot be imported ({error}); install it with: {install}"
        ) from None
