"""`train`: from images to a model, an honest test error and a report, in named steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from visus import data as images
from visus import kernels, runs, training
from visus.api.look import look
from visus.api.run import Run, recorded
from visus.errors import RunError, UsageError
from visus.ledger import Ledger, Line
from visus.training.session import RECIPE

SHEET = 24  # jittered samples shown in the report


def train(
    data: Any = None, *, recipe: str | Path | training.Recipe | None = None,
    out: str | Path | None = None, resume: str | Path | None = None, set: Sequence[str] = (),
    on: Iterable[Callable[[Line], Any]] = (), model: nn.Module | None = None, **overrides: Any,
) -> Run:  # fmt: skip
    """Train on `data`, look once at test, leave a model and a report; the same call goes on.

    `data` is a path, a name, a torch Dataset or a pair of arrays; `recipe` a TOML file or a
    `Recipe`; `set` holds "key=value" edits; keywords are edits too (`epochs=10`,
    `optimizer__rate=0.1`); `model` any network that takes (N, C, H, W) and gives (N, K) logits.
    `on` is called with each ledger line. `resume` is the folder of a run to go on with.
    Raises a `VisusError` that says in one line what failed and what to do.
    """
    request = _request(data, recipe, resume, [*set], overrides)
    folder = Path(resume) if resume is not None else runs.open_run(out, request)
    ledger = Ledger(folder, on=on)
    with recorded(folder, ledger):
        _procedure(
            request["data"] if isinstance(data, (str, Path, type(None))) else data,
            request,
            model,
            folder,
            ledger,
        )
    return Run(folder, model)


def _request(
    data: Any, recipe: Any, resume: Any, edits: list[str], overrides: dict
) -> runs.Request:
    if resume is not None:
        return _resumed(Path(resume), bool(edits or overrides or recipe))
    chosen = _chosen(recipe, edits, overrides)
    data = chosen.data.path if data is None else data
    if data is None:
        raise UsageError(
            "train: no data; give a folder of images, a manifest, or a name such as digits"
        )
    named = _place(data) if isinstance(data, (str, Path)) else runs.ARRAYS
    return {"data": named, "recipe": chosen.tree()}


def _place(data: str | Path) -> str:
    # Absolute, so that the run can be resumed and evaluated from any folder; names stay names.
    return os.path.abspath(data) if os.path.exists(data) else str(data)


def _chosen(recipe: Any, edits: list[str], overrides: dict[str, Any]) -> training.Recipe:
    if isinstance(recipe, training.Recipe):
        return training.load_recipe(None, (), **recipe.tree() | overrides).edited(edits)
    return training.load_recipe(recipe, edits, **overrides)


def _resumed(folder: Path, changed: bool) -> runs.Request:
    if changed:
        raise UsageError(
            f"resume: the recipe of {folder} is fixed; leave out --recipe, --set and the limits, "
            "or start again with another --out"
        )
    request = runs.read_request(folder)
    if runs.finished(folder):
        raise RunError(
            f"resume: {folder} is finished; see 'visus report {folder}', or start again with another --out"
        )
    return request


def _procedure(
    data: Any, request: runs.Request, model: nn.Module | None, folder: Path, ledger: Ledger
) -> None:  # fmt: skip
    kernels.info()  # without an install step they are compiled here, before the clock starts
    began = time.monotonic()
    recipe = training.load_recipe(None, (), **request["recipe"])
    dataset = images.prepare(
        data, seed=recipe.seed, folder=folder, ledger=ledger, **recipe.data.options()
    )
    spent = time.monotonic() - began
    session = training.Session(
        _asked(recipe, folder), dataset, folder, ledger, model=model, spent=spent
    )
    _sheet(dataset, session.recipe, ledger)
    for _ in session.run():
        pass
    if session.finished:
        _end(session, dataset, ledger)
        return
    message = f"stopped at step {session.state.step}; go on with: visus train --resume {folder}"
    ledger.write("end", status="stopped", message=message, metrics={})


def _asked(recipe: training.Recipe, folder: Path) -> training.Recipe | None:
    # A run that goes on takes the recipe of its folder, where every "auto" has its value.
    return None if (folder / RECIPE).exists() else recipe


def _end(session: training.Session, dataset: images.Dataset, ledger: Ledger) -> None:
    """The one look at test, and the numbers the run ends with."""
    reason = "the look at the end of visus train"
    found = look(session.best(), dataset, ledger, reason=reason)
    ledger.write("end", status="done", message="", metrics=session.metrics() | found)


def _sheet(dataset: images.Dataset, recipe: training.Recipe, ledger: Ledger) -> None:
    """A sheet of training images as the network sees them at step 0."""
    if not isinstance(recipe.jitter, dict) or not recipe.jitter:
        return
    order = images.epoch_order(len(dataset.train), recipe.seed, 0)[:SHEET]
    jitter = images.Jitter(recipe.jitter, classes=len(dataset.classes))
    batch = dataset.train.batch(order).float() / 255
    seen, _ = jitter(batch, dataset.train.targets[order], recipe.seed, 0)
    shown = (seen.clamp(0, 1) * 255).round().to(torch.uint8)
    labels = [dataset.classes[target] for target in dataset.train.targets[order].tolist()]
    items = [
        {"png": images.thumbnail(image), "label": label}
        for image, label in zip(shown, labels, strict=True)
    ]
    ledger.write("sheet", name="jitter", images=items)
