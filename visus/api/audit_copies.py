"""Copies within and across the splits, and copies with two labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from visus.api.audit_desk import NAMED, PARTS, Audit, Desk, listed, show
from visus.data import audit as parts


def copies(desk: Desk, done: Audit, near: bool, read: bool = True) -> None:
    """Finds them; exact ones alone without `near`, by the checksums of the split without `read`."""
    desk.say("copies" if near else "exact copies")
    found = parts.find_copies(desk.all, near=near, keys=None if read else _sums(desk))
    names = desk.all.names
    done.pairs = [(names[i], names[j]) for i, j in found.pairs.tolist()]
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
    show(desk, done, "leaks", "Copies across splits", "Pairs that agree in their edges: the earlier split left.",
          cross.pairs.tolist(), _told(desk, cross), cross.mirrored.tolist(), _where(desk))  # fmt: skip
    show(desk, done, "copies", "Copies within a split", "They count more than once in the loss; no harm beyond that.",
          inside.pairs.tolist(), _told(desk, inside), inside.mirrored.tolist(), _where(desk))  # fmt: skip
    if desk.targets is not None:
        _conflicts(desk, done, found)


def _sums(desk: Desk) -> list[str]:
    rows = desk.dataset.split.rows
    known = {name: sha256 for part in PARTS for name, sha256, _ in rows[part]}
    names: list[str] = desk.all.names
    return [known.get(name, name) for name in names]


def _leaks(desk: Desk, done: Audit, cross: parts.Copies) -> None:
    """Counts held-out images with a copy in an earlier part, and lists the earlier copies."""
    s, part = done.signals, desk.all.part(cross.pairs.flatten()).reshape(-1, 2)
    for k, images_ in enumerate(desk.sets):
        name = "test" if k == 2 else PARTS[k]
        s.add("split", f"{name}_n", 0, len(images_))
        s.add(
            "split", f"{name}_copies", 0, len(cross.pairs[part[:, 1] == k, 1].unique()) if k else 0
        )
    earlier = cross.pairs[:, 0].unique().tolist()
    listed(
        desk,
        done,
        "leaks",
        [desk.all.names[i] for i in earlier],
        "copies of images in later splits",
    )
    done.examples["split-leak"] = [_pair(desk, cross, k) for k in range(min(len(cross), NAMED))]


def _pair(desk: Desk, found: parts.Copies, k: int) -> dict[str, Any]:
    i, j = found.pairs[k].tolist()
    kind = "exact" if bool(found.exact[k]) else "mirrored" if bool(found.mirrored[k]) else "near"
    sets = [PARTS[n] for n in desk.all.part(found.pairs[k]).tolist()]
    return {"first": desk.all.names[i], "second": desk.all.names[j], "splits": sets, "kind": kind,
            "agreement": round(float(found.agree[k]), 3)}  # fmt: skip


def _told(desk: Desk, found: parts.Copies) -> Callable[[list[int]], str]:
    row = {tuple(pair): k for k, pair in enumerate(found.pairs.tolist())}

    def caption(pair: list[int]) -> str:
        told = _pair(desk, found, row[tuple(pair)])
        return f"{told['first']} ({told['splits'][0]}), {told['second']} ({told['splits'][1]}): {told['kind']}, {told['agreement']:.2f}"

    return caption


def _where(desk: Desk) -> Callable[[list[int]], str]:
    """The splits of a pair in words."""
    return lambda pair: " and ".join(PARTS[k] for k in desk.all.part(torch.tensor(pair)).tolist())


def _conflicts(desk: Desk, done: Audit, found: parts.Copies) -> None:
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

    show(desk, done, "conflicts", "Copies with two labels", "At most one of the two is right.",
          odd.pairs.tolist(), caption, odd.mirrored.tolist(),
         lambda pair: " and ".join(names[int(desk.targets[i])] for i in pair))  # type: ignore[index]  # fmt: skip
