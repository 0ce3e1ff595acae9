"""What the parts of an audit share: the sets, what was seen so far, pictures and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visus import data as images
from visus.data import audit as parts
from visus.data.exclude import write_names
from visus.doctor.signals import Signals
from visus.ledger import Ledger

PARTS = ("train", "validation", "test")
CLASSES = ("classification", "dichotomy")  # tasks in which an image has one class
SHOWN = 48  # examples in a gallery
NAMED = 1000  # names of one kind in the result
REASON = "audit: copies, drift and channels are compared by pixels; no model, no labels"
Say = Callable[[str], object]


@dataclass
class Audit:
    """What was seen: `findings` as the command prints them, `facts` by part, `signals` beneath,
    `examples` names by finding id or kind, `pairs` names of copies, two by two, `galleries` ledger lines with pictures, `errors` what could
    not be done, `said` and `numbers` all of it in a line."""

    signals: Signals = field(default_factory=Signals)
    findings: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, list[Any]] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    galleries: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    said: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Desk:
    """What the parts of an audit share: the sets, all of them joined, and where to write."""

    dataset: images.Dataset
    sets: list[Any]
    all: parts.Joined
    targets: Tensor | None  # of train and validation
    folder: Path | None
    say: Say


@contextmanager
def attempt(done: Audit, ledger: Ledger, what: str) -> Iterator[None]:
    """What fails inside is one line in `errors` and in the ledger."""
    try:
        yield
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        done.errors.append(f"audit: {what} could not be done: {lines[0]}")
        with suppress(Exception):  # a full disk is for the run itself to name
            ledger.write("note", text=done.errors[-1])


def open_desk(dataset: images.Dataset, ledger: Ledger, folder: Path | None, say: Say) -> Desk:
    own = [parts.Untold(dataset.train), parts.Untold(dataset.validation)]
    sets = [*own, parts.pixels(dataset.vault, ledger, REASON) if len(dataset.vault) else None]
    sets = [s for s in sets if s is not None]
    known = None
    if dataset.task in CLASSES:
        known = torch.cat([dataset.train.targets, dataset.validation.targets])
    return Desk(dataset, sets, parts.Joined(sets), known, folder, say)


def listed(desk: Desk, done: Audit, kind: str, names: list[str], why: str) -> None:
    if names and desk.folder is not None:
        path = write_names(desk.folder / f"exclude-{kind}.txt", names, why)
        done.signals.facts[f"exclude_{kind}"] = str(path)


def show(
    desk: Desk, done: Audit, name: str, title: str, said: str, rows: list[list[int]],
    caption: Callable[[list[int]], str], mirrored: list[bool] | None = None,
    short: Callable[[list[int]], str] = lambda row: "",
) -> None:  # fmt: skip
    """A gallery: each item one image, or a pair; `short` is its title, `caption` says all."""
    items = []
    for k, row in enumerate(rows[:SHOWN]):
        batch = desk.all.batch(torch.tensor(row))
        pngs = [images.thumbnail(image) for image in batch]
        told = caption(row) + (" (mirrored)" if mirrored and mirrored[k] else "")
        items.append({"pngs": pngs, "caption": told, "short": short(row)})
    if items:
        done.galleries.append(
            {"name": name, "title": title, "said": said, "items": items, "of": len(rows)}
        )
