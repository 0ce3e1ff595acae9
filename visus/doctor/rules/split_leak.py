"""The rule `split-leak`."""

from __future__ import annotations

import math

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals

GRAVE, WORTH, FEW = 0.1, 0.01, 3  # shares of the held-out images; copies that may be chance


@rule(asks=("views",))
def split_leak(s: Signals) -> Finding | None:
    """Images that measure the network are among those it learns from.

    What: a validation or test image has a copy in an earlier split: the same pixels, or the same
    picture encoded again, shifted by a pixel or two, recolored a little, or mirrored.
    Why: the network knows the answer by heart. Its error on copies says nothing about new
    images, so the test error comes out too small, and choices made on validation lean to
    networks that memorize.
    How: an audit of the data. Images whose low frequencies are much closer than usual neighbours
    are laid upon each other; copies are those whose edges correlate at 0.6 or more. In a watched
    program: samples of an evaluation that are number for number among those trained on.
    Cure: leave the copies out of train (`data.exclude=FILE`, the audit writes the list); give
    images of one scene or series the same group in a manifest. `visus train` divides anew.
    Not: sets whose images are all alike to the pixel, such as frames of a still scene: there
    neighbours in time are copies for a good reason, and belong in one group. Short texts of few
    letters, which repeat themselves within the training set already.
    Source: Barz, Denzler 2020, Do we train on test data? Purging CIFAR of near-duplicates.
    """
    parts = [
        (name, s.last("split", f"{name}_copies", 0), s.last("split", f"{name}_n", 0))
        for name in ("test", "validation")
    ]
    hit = [(name, copies, n, copies / n) for name, copies, n in parts if copies and n]
    if not hit:
        return _watched(s)
    worst = max(hit, key=lambda h: h[3])
    grave = worst[3] >= GRAVE and worst[1] >= 5
    severity = "error" if grave else "warning" if worst[3] >= WORTH and worst[1] >= FEW else "info"
    said = " and ".join(
        f"{copies:,.0f} of {n:,.0f} {name} images ({share:.2%})" for name, copies, n, share in hit
    )
    file = s.facts.get("exclude_leaks", "")
    return finding(
        severity, 0.97 if s.last("split", "exact", 0) else 0.9, f"{' and '.join(h[0] for h in hit)} split", 0,
        f"{said} {'have' if worst[1] > 1 or len(hit) > 1 else 'has'} a copy in an earlier split: "
        "errors on them measure memory, not sight.",
        ([f"data.exclude={file}"] if file else []) + ["give images of one scene or series the same group in a manifest"],
        pairs=s.last("split", "pairs", 0), exact=s.last("split", "exact", 0), mirrored=s.last("split", "mirrored", 0),
        **{f"{name}_share": share for name, _, _, share in hit}, **{f"{name}_copies": copies for name, copies, _, _ in hit},
    )  # fmt: skip


def _watched(s: Signals) -> Finding | None:
    """Evaluation batches that hold some samples of the training batches, but not only such.

    Only some training batches are recorded, so that samples of later ones are known in part
    only: that part is the measure. All of an evaluation on the training set are known so far.
    """
    after = s.steps // 2
    seen = _known(s, "train", after)
    if sum(n for _, n in seen) < 100 or (usual := _share(seen)) < 0.15:
        return None
    if s.facts.get("tokens") and _share(_known(s, "train", 1)[:6]) > 0.02:
        return None  # short texts of few letters: new ones are like old ones by themselves
    passes = [(share, n) for share, n in _known(s, "evaluation", after) if n >= 30]
    mixed = [(share, n) for share, n in passes if share > 0.03 and share < 0.85 * usual]
    n = sum(n for _, n in mixed)
    if n < 100 or 2 * len(mixed) <= len(passes):
        return None
    known = _share(mixed)
    if known > usual - 4 * math.sqrt(usual * (1 - usual) / n):
        return None
    part = known / usual
    return finding(
        "warning", 0.85, "validation split", 0,
        f"About {part:.0%} of the samples of the evaluations are among those that were trained on "
        f"({known:.1%} were met in recorded training batches, where {usual:.1%} of the training samples were).",
        ["split before anything is drawn, repeated or augmented, so that no sample is in two parts"],
        share=part, known=known, usual=usual, samples=n,
    )  # fmt: skip


def _known(s: Signals, place: str, after: int) -> list[tuple[float, float]]:
    pairs = zip(s.series(place, "known"), s.values(place, "known_of"), strict=False)
    return [(share, n) for (step, share), n in pairs if step >= after]


def _share(passes: list[tuple[float, float]]) -> float:
    return sum(share * n for share, n in passes) / max(sum(n for _, n in passes), 1)
