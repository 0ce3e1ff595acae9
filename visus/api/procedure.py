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
from visus import ledger as book
from visus.api import ranks
from visus.api.audit import audit
from visus.api.look import look
from visus.api.procedure_case import Case
from visus.api.procedure_checks import baseline
from visus.api.procedure_division import divided_anew
from visus.api.run import Run
from visus.errors import RunError, UsageError
from visus.ledger import Ledger, Line
from visus.training.automatic import settle
from visus.training.distributed import ALONE
from visus.training.tasks import make_task

OVER = 1.05  # times a time limit from which it is told where the time went
SHEET = 24  # jittered samples shown in the report


def train(
    data: Any = None, *, recipe: str | Path | training.Recipe | None = None,
    out: str | Path | None = None, resume: str | Path | None = None, set: Sequence[str] = (),
    on: Iterable[Callable[[Line], Any]] = (), model: nn.Module | None = None,
    cure: bool | Callable[[Line], bool] = True, began: float | None = None, **overrides: Any,
) -> Run:  # fmt: skip
    """Train on `data`, look once at test, leave a model and a report; the same call goes on.

    `data` is a path, a name, a torch Dataset or a pair of arrays; `recipe` a TOML file or a
    `Recipe`; `set` holds "key=value" edits; keywords are edits too (`epochs=10`,
    `optimizer__rate=0.1`); `model` any network that takes (N, C, H, W) and gives (N, K) logits.
    `on` is called with each ledger line. `cure=False` only reports what goes wrong; a function is
    asked about each remedy that a trial has proved (its ledger line). `resume` is the folder of a run to go on with.
    A time limit counts from `began` (of `time.monotonic`; now) to the written report.
    Raises a `VisusError` that says in one line what failed and what to do.
    """
    began = time.monotonic() if began is None else began
    request = _request(data, recipe, resume, [*set], overrides, cure)
    chosen = (lambda: Path(resume)) if resume is not None else (lambda: runs.open_run(out, request))
    world = ranks.world()
    folder = ranks.agreed(world, chosen)
    with ranks.written(world, folder, on) as ledger:
        _procedure(
            request["data"] if isinstance(data, (str, Path, type(None))) else data,
            request,
            model,
            folder,
            ledger,
            cure if callable(cure) else None,
            training.Clock(training.seconds(folder), began),
        )
    return Run(folder, model)


def _request(
    data: Any, recipe: Any, resume: Any, edits: list[str], overrides: dict, cure: Any = True
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
    # What is usual is left out: a request from before there were cures is the same request.
    return {"data": named, "recipe": chosen.tree()} | ({} if cure else {"cure": "off"})


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
    data: Any, request: runs.Request, model: nn.Module | None, folder: Path, ledger: Ledger,
    ask: Callable[[Line], bool] | None, clock: training.Clock,
) -> None:  # fmt: skip
    kernels.info()  # without an install step they are compiled here
    recipe = training.load_recipe(None, (), **request["recipe"])
    world = ranks.world()
    dataset = ranks.prepared(world, data, recipe, folder, ledger)
    cure = request.get("cure", "on")
    case = Case(folder, ledger, recipe, dataset, model, cure, ask, clock)
    if world.main:
        _opening(case, data)
    if world.agree(case.dataset is not dataset) and not world.main:  # rank 0 has divided it anew
        case.dataset = images.prepare(data, seed=recipe.seed, folder=folder, **recipe.reading())
    case.world = world
    session = case.carry_out()
    if not world.main:
        return
    case.world = ALONE  # the others have left
    if session.finished:
        _end(session, case)
        return
    message = f"stopped at step {session.state.step}; go on with: visus train --resume {folder}"
    ledger.write("end", status="stopped", message=message, metrics={})


def _opening(case: Case, data: Any) -> None:
    """The steps that need no network: split, audit, baseline. A resumed run has them on record."""
    names = {line["name"] for line in book.select(case.past, "stage")}
    dataset = case.dataset
    if "split" not in names:
        sizes = {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.vault)}  # fmt: skip
        case.stage("split", f"divided {dataset.split.how}", sizes, time.monotonic())
    if "data audit" not in names or _undone(case):
        dataset = _audited(case, data)
    if "baseline" not in names:
        start = time.monotonic()
        case.stage("baseline", *baseline(dataset, case.asked.seed), start)
    if "sheet" not in {line["kind"] for line in case.past}:
        _sheet(dataset, settle(case.asked, dataset), case.ledger)


def _audited(case: Case, data: Any) -> images.Dataset:
    """The audit, and the split divided anew where it calls for that: decided first, done second.

    A run that was killed in between finds the same once more, without a word, and does it.
    """
    start, asked, told = time.monotonic(), case.asked, case.done("data audit")
    decided = case.done("re-split")
    done = audit(case.dataset, Ledger() if told else case.ledger, cheap=True)

    def again(pairs: Any, anew: Any, validation: float | None) -> images.Dataset:
        own: dict[str, Any] = {"validation": validation} if validation else {}
        ways = asked.reading() | own
        return images.prepare(data, seed=asked.seed, again=images.Again(pairs, anew), **ways)

    found = None
    if case.cure != "off" and isinstance(case.dataset.train, images.ImageSet):
        found = divided_anew(case.dataset, done, again, None if decided else case.ask)
    if not told:
        numbers = done.numbers | ({"calls": "for a division anew"} if found else {})
        case.stage("data audit", done.said, numbers, start)
    if found is not None and not decided:
        case.stage("re-split", *found[1:], start)
    if found is not None and found[0] is not None:
        case.dataset = found[0]
        images.record(case.dataset, case.folder, case.ledger)
    return case.dataset


def _undone(case: Case) -> bool:
    """Whether a division anew was called for and not decided, or decided and not done."""
    called, told = case.done("data audit"), case.done("re-split")
    if told is None:
        return called is not None and "calls" in called["evidence"]
    return told["evidence"].get("sha256", "") not in ("", case.dataset.split.sha256)


def _end(session: training.Session, case: Case) -> None:
    """Errors are read, then the one look at test, and the numbers the run ends with."""
    start, ledger = time.monotonic(), case.ledger
    decided, _, evidence = case.diagnosed(session, _changed(session, case))
    case.stage("errors", decided, evidence, start)
    start, reason = time.monotonic(), "the look at the end of visus train"
    found = look(session.best(), case.dataset, ledger, reason=reason)
    seen = {"test_error": found["test_error"], "looks": found["looks"]}
    case.stage("test", "one look, after all was decided", seen, start)
    message, metrics = _overrun(session, book.history(case.past)), session.metrics() | found
    ledger.write("end", status="done", message=message, metrics=metrics)


def _changed(session: training.Session, case: Case) -> Line | None:
    """The errors of the model as it goes out, where exact statistics have changed it since its epoch."""
    changed = any(x.get("kept") and not x["edits"] for x in book.select(case.past, "trial"))
    if not changed or session.budget.over():
        return None
    return {"kind": "epoch"} | session.judge(session.best()) | {"judged": session.judge.sizes}


def _overrun(session: training.Session, lines: list[Line]) -> str:
    """Where the time went, in a line, where the limit was not kept; else nothing."""
    limit, spent = session.recipe.training.time_limit, session.clock()
    stop, plans = book.last(lines, "stop"), book.select(lines, "plan")
    if limit is None or spent <= OVER * limit or not stop or not plans:
        return ""
    ready, trained = plans[0]["seconds"], stop["seconds"]
    return (
        f"{spent:.0f} s were spent of a limit of {limit:.0f}: {ready:.0f} on getting ready, "
        f"{trained - ready:.0f} on {session.step} steps and what was tried, {spent - trained:.0f} after them; give more "
        "time, or smaller images with --set data.size"
    )


def _sheet(dataset: images.Dataset, recipe: training.Recipe, ledger: Ledger) -> None:
    """A sheet of training images as the network sees them at step 0."""
    if not isinstance(recipe.jitter, dict) or not recipe.jitter:
        return
    order = images.epoch_order(len(dataset.train), recipe.seed, 0)[:SHEET]
    jitter = images.Jitter(recipe.jitter, classes=len(dataset.classes))
    batch = dataset.train.batch(order).float() / 255
    seen, _ = jitter(batch, dataset.train.targets[order], recipe.seed, 0)
    shown = (seen.clamp(0, 1) * 255).round().to(torch.uint8)
    labels = make_task(recipe.task.name, dataset).labels(dataset.train.targets[order])
    items = [
        {"png": images.thumbnail(image), "label": label}
        for image, label in zip(shown, labels, strict=True)
    ]
    ledger.write("sheet", name="jitter", images=items)
