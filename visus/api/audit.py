"""The audit of a data set and of its split, before any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visus import data as images
from visus.data import audit as parts
from visus.data.exclude import write_names
from visus.doctor import audited
from visus.doctor.signals import Signals
from visus.ledger import Ledger

PARTS = ("train", "validation", "test")
CLASSES = ("classification", "dichotomy")  # tasks in which an image has one class
DRIFTING = 3000  # images of a split that drift is judged on
CHEAP = 20_000  # images up to which a cheap audit looks for near copies
SHOWN = 48  # examples in a gallery
NAMED = 1000  # names of one kind in the result
REASON = "audit: copies, drift and channels are compared by pixels; no model, no labels"
Say = Callable[[str], object]


@dataclass
class Audit:
    """What was seen: `findings` as the command prints them, `facts` by part, `signals` beneath,
    `examples` names by finding id or kind, `galleries` ledger lines with pictures."""

    signals: Signals = field(default_factory=Signals)
    findings: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, list[Any]] = field(default_factory=dict)
    galleries: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class _Desk:
    """What the parts of an audit share: the sets, all of them joined, and where to write."""

    dataset: images.Dataset
    sets: list[Any]
    all: parts.Joined
    targets: Tensor | None  # of train and validation
    folder: Path | None
    say: Say


def audit(
    dataset: images.Dataset, ledger: Ledger | None = None, *, cheap: bool = False,
    folder: str | Path | None = None, say: Say = lambda text: None, undivided: str = "",
    sizes: Callable[[], Any] | None = None,
) -> Audit:  # fmt: skip
    """Look at all images of `dataset`; write `pixels`, `audit`, `finding` and `gallery` lines.

    `cheap` is seconds: class balance, channels, copies (near ones up to 20,000 images). The full
    audit adds wrong labels and drift between the splits, minutes for 60,000 images on a core.
    Lists for `data.exclude` are written into `folder`, where one is given. Test images are seen
    without their labels, and the ledger says so (`visus.data.audit.sealed`). `undivided` tells why
    there are no splits, where there are none; `sizes` gives the original sizes and their names.
    """
    ledger = ledger if ledger is not None else Ledger()
    done = Audit()
    desk = _desk(dataset, ledger, Path(folder) if folder is not None else None, say)
    _divided(desk, done, undivided)
    _balance(desk, done)
    if sizes is not None and (found := sizes()) is not None:
        _sizes(desk, done, *found)
    _channels(desk, done)
    _copies(desk, done, near=not cheap or len(desk.all) <= CHEAP)
    if not cheap:
        _learned(desk, done)
    done.findings, done.errors = audited.findings(done.signals)
    for found in done.findings:
        found["examples"] = done.examples.get(found["id"], [])[:SHOWN]
    ledger.write(
        "audit",
        cheap=cheap,
        n=len(desk.all),
        findings=[f["id"] for f in done.findings],
        **done.facts,
    )
    for found in done.findings:
        ledger.write("finding", **found)
    for gallery in done.galleries:
        ledger.write("gallery", **gallery)
    return done


def _desk(dataset: images.Dataset, ledger: Ledger, folder: Path | None, say: Say) -> _Desk:
    own = [parts.Untold(dataset.train), parts.Untold(dataset.validation)]
    sets = [*own, parts.pixels(dataset.vault, ledger, REASON) if len(dataset.vault) else None]
    sets = [s for s in sets if s is not None]
    known = None
    if dataset.task in CLASSES:
        known = torch.cat([dataset.train.targets, dataset.validation.targets])
    return _Desk(dataset, sets, parts.Joined(sets), known, folder, say)


def _divided(desk: _Desk, done: Audit, undivided: str) -> None:
    done.signals.add("split", "n", 0, len(desk.all))
    if undivided:
        said, _, cure = undivided.removeprefix("split: ").partition("; ")
        done.signals.facts |= {"undivided": said, "undivided_cure": [cure] if cure else []}


def _sizes(desk: _Desk, done: Audit, seen: parts.Sizes, names: list[str]) -> None:
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
    _show(desk, done, "sizes", "Odd sizes", "Files of another size or shape than most; shown as they are decoded.",
          [[i] for i in told], lambda rows: told[rows[0]])  # fmt: skip


def _x(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _balance(desk: _Desk, done: Audit) -> None:
    counts = desk.dataset.split.counts()
    done.facts["counts"] = counts
    if desk.targets is not None:
        done.signals.facts["class_counts"] = counts["train"]
        tables = {p: torch.tensor([*counts[p].values()], dtype=torch.float64) for p in PARTS}
        for part in PARTS[1:]:
            done.signals.add(part, "class_p", 0, parts.shares_differ(tables["train"], tables[part]))


def _channels(desk: _Desk, done: Audit) -> None:
    desk.say("channels")
    seen, s = parts.channels(desk.all), done.signals
    s.add("input", "n", 0, len(desk.all))
    s.add("input", "constant_channels", 0, len(seen.constant))
    s.add("input", "equal_channels", 0, float(seen.equal))
    s.add("input", "blank", 0, len(seen.blank))
    done.facts["channels"] = {"mean": seen.mean, "std": seen.std, "constant": seen.constant,
                              "grey": seen.equal, "blank": len(seen.blank)}  # fmt: skip
    names = [desk.all.names[i] for i in seen.blank.tolist()]
    done.examples["input-not-normalized"] = names[:NAMED]
    _list(desk, done, "blank", names, "images of one color all over")
    _show(desk, done, "blank", "Images of one color", "They show nothing a network could learn.",
          [[i] for i in seen.blank.tolist()], lambda rows: desk.all.names[rows[0]])  # fmt: skip


def _copies(desk: _Desk, done: Audit, near: bool) -> None:
    desk.say("copies" if near else "exact copies")
    found = parts.find_copies(desk.all, near=near)
    where = desk.all.part(found.pairs.flatten()).reshape(-1, 2)
    crossing = where[:, 0] != where[:, 1]
    cross, s = found.take(crossing.nonzero()[:, 0]), done.signals
    _leaks(desk, done, cross)
    s.add("split", "exact", 0, int(cross.exact.sum()))
    s.add("split", "mirrored", 0, int(cross.mirrored.sum()))
    s.add("split", "pairs", 0, len(cross))
    done.facts["copies"] = {
        "pairs": len(found),
        "exact": int(found.exact.sum()),
        "across": len(cross),
        "near": near,
    }
    inside = found.take((~crossing).nonzero()[:, 0])
    done.facts["copies"]["inside"] = [
        _pair(desk, inside, k) for k in range(min(len(inside), NAMED))
    ]
    _show(desk, done, "leaks", "Copies across splits", "Pairs that agree in their edges: the earlier split left.",
          cross.pairs.tolist(), _told(desk, cross), cross.mirrored.tolist())  # fmt: skip
    _show(desk, done, "copies", "Copies within a split", "They count more than once in the loss; no harm beyond that.",
          inside.pairs.tolist(), _told(desk, inside), inside.mirrored.tolist())  # fmt: skip
    if desk.targets is not None:
        _conflicts(desk, done, found)


def _leaks(desk: _Desk, done: Audit, cross: parts.Copies) -> None:
    """Counts held-out images with a copy in an earlier part, and lists the earlier copies."""
    s, part = done.signals, desk.all.part(cross.pairs.flatten()).reshape(-1, 2)
    for k, images_ in enumerate(desk.sets):
        name = "test" if k == 2 else PARTS[k]
        s.add("split", f"{name}_n", 0, len(images_))
        s.add(
            "split", f"{name}_copies", 0, len(cross.pairs[part[:, 1] == k, 1].unique()) if k else 0
        )
    earlier = cross.pairs[:, 0].unique().tolist()
    _list(
        desk,
        done,
        "leaks",
        [desk.all.names[i] for i in earlier],
        "copies of images in later splits",
    )
    done.examples["split-leak"] = [_pair(desk, cross, k) for k in range(min(len(cross), NAMED))]


def _pair(desk: _Desk, found: parts.Copies, k: int) -> dict[str, Any]:
    i, j = found.pairs[k].tolist()
    kind = "exact" if bool(found.exact[k]) else "mirrored" if bool(found.mirrored[k]) else "near"
    sets = [PARTS[n] for n in desk.all.part(found.pairs[k]).tolist()]
    return {"first": desk.all.names[i], "second": desk.all.names[j], "splits": sets, "kind": kind,
            "agreement": round(float(found.agree[k]), 3)}  # fmt: skip


def _told(desk: _Desk, found: parts.Copies) -> Callable[[list[int]], str]:
    row = {tuple(pair): k for k, pair in enumerate(found.pairs.tolist())}

    def caption(pair: list[int]) -> str:
        told = _pair(desk, found, row[tuple(pair)])
        return f"{told['first']} ({told['splits'][0]}), {told['second']} ({told['splits'][1]}): {told['kind']}, {told['agreement']:.2f}"

    return caption


def _conflicts(desk: _Desk, done: Audit, found: parts.Copies) -> None:
    """Copies with two labels; test labels stay unread."""
    assert desk.targets is not None
    own = found.take((found.pairs.amax(1) < len(desk.targets)).nonzero()[:, 0])
    labels = desk.targets[own.pairs]
    odd = own.take((labels[:, 0] != labels[:, 1]).nonzero()[:, 0])
    done.signals.add("audit-labels", "conflicts", 0, len(odd))
    done.facts["conflicts"] = [_pair(desk, odd, k) for k in range(min(len(odd), NAMED))]
    names = desk.dataset.classes

    def caption(pair: list[int]) -> str:
        return " and ".join(f"{desk.all.names[i]}: {names[int(desk.targets[i])]}" for i in pair)  # type: ignore[index]

    _show(desk, done, "conflicts", "Copies with two labels", "At most one of the two is right.",
          odd.pairs.tolist(), caption, odd.mirrored.tolist())  # fmt: skip


def _learned(desk: _Desk, done: Audit) -> None:
    """What needs features: wrong labels, and drift between the splits."""
    own = len(desk.sets[0]) + len(desk.sets[1])
    if own < 40:
        done.facts["skipped"] = f"{own} images are too few to judge labels or drift"
        return
    desk.say("features")
    draw = torch.Generator().manual_seed(0)
    words = parts.Words(desk.all, torch.arange(len(desk.sets[0])))
    rows = [torch.arange(own)]
    if len(desk.sets) == 3:
        tested = torch.randperm(len(desk.sets[2]), generator=draw)[:DRIFTING].sort().values
        rows.append(tested + own)
    chosen = torch.cat(rows)
    x = parts.features(desk.all, words, chosen, say=desk.say)
    _labels(desk, done, x[:own])
    _drift(desk, done, x, chosen)


def _labels(desk: _Desk, done: Audit, x: Tensor) -> None:
    classes = desk.dataset.classes
    if desk.targets is None or len(classes) < 2:
        return
    desk.say("labels")
    seen = parts.suspects(parts.out_of_fold(x, desk.targets, len(classes)), desk.targets)
    s = done.signals
    expected = int(seen.share * len(x))
    for name, value in (
        ("share", seen.share),
        ("suspects", len(seen.rows)),
        ("error", seen.error),
        ("n", len(x)),
    ):
        s.add("audit-labels", name, 0, value)
    told = [{"name": desk.all.names[i], "label": classes[int(desk.targets[i])], "suggested": classes[k], "margin": round(m, 3)}
            for i, k, m in zip(seen.rows.tolist(), seen.said.tolist(), seen.margin.tolist(), strict=True)]  # fmt: skip
    done.examples["label-noise"] = told[:NAMED]
    done.facts["labels"] = {
        "share": seen.share,
        "suspects": len(told),
        "error": seen.error,
        "listed": told[: max(expected, 20)][:NAMED],
    }
    if seen.share > audited.SHARE:
        _list(
            desk,
            done,
            "labels",
            [item["name"] for item in told[:expected]],
            "labels that predictions contradict most",
        )
    by_row = dict(zip(seen.rows.tolist(), told, strict=True))

    def caption(rows: list[int]) -> str:
        item = by_row[rows[0]]
        return f"{item['name']}: given {item['label']}, looks like {item['suggested']}"

    _show(desk, done, "labels", "Labels to look at", "Predictions of images held out contradict these most; many are hard images, rightly labelled.",
          [[i] for i in by_row], caption)  # fmt: skip


def _drift(desk: _Desk, done: Audit, x: Tensor, rows: Tensor) -> None:
    desk.say("drift")
    which = desk.all.part(rows)
    for k, name in enumerate(PARTS[: len(desk.sets)]):
        if not k:
            continue
        theirs = rows[which == k]
        own, other = (which == 0).nonzero()[:, 0], (which == k).nonzero()[:, 0]
        draw = torch.Generator().manual_seed(k)
        own = own[torch.randperm(len(own), generator=draw)[:DRIFTING]]
        first, second = (parts.looks(desk.all, rows[at]) for at in (own, other))
        seen = parts.compare(first, second, x[own], x[other])
        for key, value in (
            ("drift_p", seen.p),
            ("drift_accuracy", seen.accuracy),
            ("drift_n", seen.n),
        ):
            done.signals.add(name, key, 0, value)
        done.facts[f"drift_{name}"] = {"accuracy": seen.accuracy, "p": seen.p, "images": seen.n}
        if seen.p < 1e-3:
            odd = theirs[seen.odd].tolist()
            done.examples["test-drift" if k == 2 else "split-unrepresentative"] = [
                desk.all.names[i] for i in odd[:NAMED]
            ]
            _show(desk, done, f"drift-{name}", f"{name.capitalize()} images least like train", "The ones that a classifier is surest of.",
                  [[i] for i in odd], lambda one: desk.all.names[one[0]])  # fmt: skip


def _list(desk: _Desk, done: Audit, kind: str, names: list[str], why: str) -> None:
    if names and desk.folder is not None:
        path = write_names(desk.folder / f"exclude-{kind}.txt", names, why)
        done.signals.facts[f"exclude_{kind}"] = str(path)


def _show(
    desk: _Desk, done: Audit, name: str, title: str, said: str, rows: list[list[int]],
    caption: Callable[[list[int]], str], mirrored: list[bool] | None = None,
) -> None:  # fmt: skip
    """A gallery: each item one image, or a pair side by side (the second turned if mirrored)."""
    items = []
    for k, row in enumerate(rows[:SHOWN]):
        batch = desk.all.batch(torch.tensor(row))
        pngs = [images.thumbnail(image) for image in batch]
        told = caption(row) + (" (mirrored)" if mirrored and mirrored[k] else "")
        items.append({"pngs": pngs, "caption": told})
    if items:
        done.galleries.append(
            {"name": name, "title": title, "said": said, "items": items, "of": len(rows)}
        )
