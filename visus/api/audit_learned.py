"""What a classifier says before any training: labels that look wrong, splits that differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from visus.api.audit_desk import NAMED, PARTS, Audit, Desk, listed, show
from visus.api.audit_net import held_out
from visus.data import audit as parts
from visus.doctor import audited

DRIFTING = 3000  # images of a split that drift is judged on
FEW = 40  # images of train and validation below which nothing is judged


def learned(desk: Desk, done: Audit, seconds: float) -> None:
    """Drift by features that need no training; labels by small nets, in `seconds` at most."""
    own = len(desk.sets[0]) + len(desk.sets[1])
    if own < FEW:
        done.facts["skipped"] = f"{own} images are too few to judge labels or drift"
        return
    desk.say("features")
    words = parts.Words(desk.all, torch.arange(len(desk.sets[0])))
    _drift(desk, done, words)
    if desk.targets is not None and len(desk.dataset.classes) > 1:
        _labels(desk, done, *_predicted(desk, words, seconds))


def _predicted(desk: Desk, words: parts.Words, seconds: float) -> tuple[Tensor, dict[str, Any]]:
    """Out-of-fold probabilities of train and validation, and by what they came."""
    assert desk.targets is not None
    targets, classes = desk.targets, len(desk.dataset.classes)
    name = getattr(desk.dataset, "name", "")
    held = held_out(desk.all, targets, classes, seconds=seconds, name=name, say=desk.say)
    if held is not None:
        by = f"{held.folds} small nets, {held.epochs:.0f} epochs each, {held.seconds:.0f} s"
        return held.probabilities, {"by": by, "folds": held.folds, "epochs": held.epochs}
    x = parts.features(desk.all, words, torch.arange(len(targets)), say=desk.say)
    by = f"a linear model; {seconds:.0f} s are too short for small nets, which see more"
    return parts.out_of_fold(x, targets, classes), {"by": by, "folds": 5, "epochs": 0.0}


def _labels(desk: Desk, done: Audit, probabilities: Tensor, facts: dict[str, Any]) -> None:
    assert desk.targets is not None
    classes, s = desk.dataset.classes, done.signals
    seen = parts.suspects(probabilities, desk.targets)
    numbers: dict[str, Any] = {"share": seen.share, "suspects": len(seen.rows), "wrong": seen.wrong,
               "joint": seen.joint, "error": seen.error, "n": len(probabilities), "judged": seen.judged}  # fmt: skip
    for name, value in numbers.items():
        s.add("audit-labels", name, 0, float(value))
    told = [{"name": desk.all.names[i], "label": classes[int(desk.targets[i])], "suggested": classes[k], "doubt": round(d, 3)}
            for i, k, d in zip(seen.rows.tolist(), seen.said.tolist(), seen.doubt.tolist(), strict=True)]  # fmt: skip
    done.examples["label-noise"] = told[:NAMED] if seen.judged else []
    done.facts["labels"] = facts | numbers | {"listed": told[: max(seen.wrong, 20)][:NAMED]}
    if seen.judged and seen.share > audited.SHARE:
        names = [item["name"] for item in told[: seen.wrong]]
        listed(desk, done, "labels", names, "labels that are likelier wrong than right")

    by_row = dict(zip(seen.rows.tolist(), told, strict=True))

    def caption(rows: list[int]) -> str:
        item = by_row[rows[0]]
        return f"{item['name']}: given {item['label']}, looks like {item['suggested']}"

    show(desk, done, "labels", "Labels to look at", "Nets that never saw these images find their labels the least likely, the surest first. In a sound set most are hard images, rightly labelled.",
         [[i] for i in by_row], caption,
         short=lambda rows: f"{by_row[rows[0]]['label']}, or {by_row[rows[0]]['suggested']}?")  # fmt: skip


def _drift(desk: Desk, done: Audit, words: parts.Words) -> None:
    desk.say("drift")
    rows = torch.cat([_some(desk, k) for k in range(len(desk.sets))])
    x = parts.features(desk.all, words, rows)
    which = desk.all.part(rows)
    for k, name in enumerate(PARTS[: len(desk.sets)]):
        if not k:
            continue
        theirs = rows[which == k]
        own, other = (which == 0).nonzero()[:, 0], (which == k).nonzero()[:, 0]
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
            show(desk, done, f"drift-{name}", f"{name.capitalize()} images least like train", "The ones that a classifier is surest of.",
                  [[i] for i in odd], lambda one: desk.all.names[one[0]])  # fmt: skip


def _some(desk: Desk, k: int) -> Tensor:
    """Rows of the k-th set, at most as many as drift is judged on."""
    draw = torch.Generator().manual_seed(k)
    rows = torch.randperm(len(desk.sets[k]), generator=draw)[:DRIFTING].sort().values
    return rows + int(desk.all.first[k])
