"""The audit of a data set and of its split, before any training."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visus import data as images
from visus.api.audit_copies import copies
from visus.api.audit_desk import (
    NAMED,
    PARTS,
    SHOWN,
    Audit,
    Desk,
    Say,
    attempt,
    listed,
    open_desk,
    show,
)
from visus.api.audit_learned import learned
from visus.api.audit_net import SECONDS
from visus.data import audit as parts
from visus.doctor import audited
from visus.ledger import Ledger

BRIEF = 0.25  # seconds that reading pixels may take in a cheap audit, of each part
CHEAP = 5000  # images up to which a cheap audit looks for near copies


def audit(
    dataset: images.Dataset, ledger: Ledger | None = None, *, cheap: bool = False,
    folder: str | Path | None = None, say: Say = lambda text: None, undivided: str = "",
    sizes: Callable[[], Any] | None = None, seconds: float = SECONDS,
) -> Audit:  # fmt: skip
    """Look at all images of `dataset`; write `pixels`, `audit`, `finding` and `gallery` lines.

    The full audit takes minutes for 60,000 images on a core: copies, drift between the splits,
    and wrong labels, for which small nets are trained for up to `seconds`. `cheap` is a second
    or less: class balance, channels (of as many images as can be read so fast), copies (near ones
    up to 5,000 images, else exact ones). Lists for `data.exclude` are written into `folder`, where
    one is given. Test images are seen without their labels, and the ledger says so
    (`visus.data.audit.sealed`). `undivided` tells why there are no splits, where there are none;
    `sizes` gives the original sizes and their names. What fails is left out, with a line in
    `errors` and a `note` in the ledger: an audit is no reason for a training to end.
    """
    ledger = ledger if ledger is not None else Ledger()
    done = Audit()
    with attempt(done, ledger, "opening the data"):
        desk = open_desk(dataset, ledger, Path(folder) if folder is not None else None, say)
        _stages(desk, done, ledger, cheap, undivided, sizes, seconds)
        _written(desk, done, ledger, cheap)
    return done


def _stages(
    desk: Desk, done: Audit, ledger: Ledger, cheap: bool, undivided: str, sizes: Any, seconds: float
) -> None:  # fmt: skip
    rows, quick = _readable(desk) if cheap else (torch.arange(len(desk.all)), True)
    stages: dict[str, Callable[[], None]] = {
        "the split": lambda: _divided(desk, done, undivided),
        "class balance": lambda: _balance(desk, done),
        "sizes": lambda: _sizes(desk, done, *found) if sizes and (found := sizes()) else None,
        "channels": lambda: _channels(desk, done, rows),
        "copies": lambda: copies(
            desk, done, near=not cheap or (quick and len(desk.all) <= CHEAP), read=quick
        ),
        "labels and drift": lambda: None if cheap else learned(desk, done, seconds),
    }
    for name, stage in stages.items():
        with attempt(done, ledger, name):
            stage()


def _readable(desk: Desk) -> tuple[Tensor, bool]:
    """Rows that can be read in a moment, spread over the sets, and whether those are all."""
    n = len(desk.all)
    rows = torch.arange(n)[:: max(1, n // 64)]
    start = time.perf_counter()
    desk.all.batch(rows)
    pace = (time.perf_counter() - start) / max(1, len(rows))
    fits = max(64, int(BRIEF / max(pace, 5e-6)))
    return (torch.arange(n), True) if n <= fits else (torch.arange(n)[:: -(-n // fits)], False)


def _written(desk: Desk, done: Audit, ledger: Ledger, cheap: bool) -> None:
    done.findings, errors = audited.findings(done.signals)
    done.errors += errors
    for found in done.findings:
        found["examples"] = done.examples.get(found["id"], [])[:SHOWN]
    done.numbers = {"images": len(desk.all)} | _numbers(done.facts)
    done.said = _said(done)
    named = [f["id"] for f in done.findings]
    ledger.write("audit", cheap=cheap, n=len(desk.all), findings=named, **done.facts)
    for found in done.findings:
        ledger.write("finding", **found)
    for gallery in done.galleries:
        ledger.write("gallery", **gallery)


def _numbers(facts: dict[str, Any]) -> dict[str, int]:
    copies_ = facts.get("copies", {})
    found = {"copies": copies_.get("pairs"), "across_splits": copies_.get("across"),
             "blank": facts.get("channels", {}).get("blank")}  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _said(done: Audit) -> str:
    named = [f["id"] for f in done.findings if f["severity"] != "info"]
    if named:
        return f"found {', '.join(named)}"
    across = done.facts.get("copies", {}).get("across")
    return "nothing wrong found" + (f"; {across} copies across splits" if across else "")


def _divided(desk: Desk, done: Audit, undivided: str) -> None:
    done.signals.add("split", "n", 0, len(desk.all))
    if undivided:
        said, _, cure = undivided.removeprefix("split: ").partition("; ")
        done.signals.facts |= {"undivided": said, "undivided_cure": [cure] if cure else []}


def _sizes(desk: Desk, done: Audit, seen: parts.Sizes, names: list[str]) -> None:
    """Files that are much smaller, larger or of another shape than most."""
    by_name = {name: i for i, name in enumerate(desk.all.names)}
    odd = [(names[i], size, why) for i, size, why in seen.outliers if names[i] in by_name]
    said = (
        f"{_x(seen.common[0][0])} most often, median {_x(seen.median)}, {len(odd)} outliers"
        if seen.common
        else ""
    )
    done.facts["sizes"] = {
        "said": said, "common": [[_x(size), n] for size, n in seen.common], "median": list(seen.median), "outliers": len(odd),
        "odd": [{"name": name, "size": list(size), "why": why} for name, size, why in odd[:NAMED]],
    }  # fmt: skip
    told = {by_name[name]: f"{name}: {_x(size)} pixels, {why}" for name, size, why in odd}
    show(desk, done, "sizes", "Odd sizes", "Files of another size or shape than most; shown as they are decoded.",
          [[i] for i in told], lambda rows: told[rows[0]])  # fmt: skip


def _x(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _balance(desk: Desk, done: Audit) -> None:
    counts = desk.dataset.split.counts()
    done.facts["counts"] = counts
    if desk.targets is not None:
        done.signals.facts["class_counts"] = counts["train"]
        tables = {p: torch.tensor([*counts[p].values()], dtype=torch.float64) for p in PARTS}
        for part in PARTS[1:]:
            done.signals.add(part, "class_p", 0, parts.shares_differ(tables["train"], tables[part]))


def _channels(desk: Desk, done: Audit, rows: Tensor) -> None:
    desk.say("channels")
    seen, s = parts.channels(desk.all, rows), done.signals
    s.add("input", "n", 0, len(rows))
    s.add("input", "constant_channels", 0, len(seen.constant))
    s.add("input", "equal_channels", 0, float(seen.equal))
    s.add("input", "blank", 0, len(seen.blank))
    done.facts["channels"] = {"mean": seen.mean, "std": seen.std, "constant": seen.constant,
                              "grey": seen.equal, "blank": len(seen.blank), "of": len(rows)}  # fmt: skip
    names = [desk.all.names[i] for i in seen.blank.tolist()]
    done.examples["input-not-normalized"] = names[:NAMED]
    listed(desk, done, "blank", names, "images of one color all over")
    show(desk, done, "blank", "Images of one color", "They show nothing a network could learn.",
          [[i] for i in seen.blank.tolist()], lambda rows: desk.all.names[rows[0]])  # fmt: skip
