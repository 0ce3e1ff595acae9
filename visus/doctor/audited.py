"""What an audit of the data says under ids whose rules watch a training: pure functions of signals.

`visus explain ID` shows the page of the rule; here the evidence comes from all images at once.
"""

from __future__ import annotations

from collections.abc import Callable

from visus.doctor.diagnose import diagnose
from visus.doctor.rules import Finding, finding
from visus.doctor.signals import Signals

RULES = ("split-leak", "split-unrepresentative", "test-drift")
RATIO, FEW = 6.0, 30  # of the largest to the smallest class; images of a class that are few
SHARE = 0.04  # arbitrary labels; an untouched set with hard images stays below


def findings(s: Signals) -> tuple[list[Finding], list[str]]:
    """All findings of an audit, the gravest first, and the errors of rules that failed."""
    found, errors = diagnose(s, RULES)
    for name, reading in READINGS.items():
        result = reading(s)
        if result is not None:
            found.append({"id": name, **result, "causes": []})
    weight = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda f: (weight[f["severity"]], -f["confidence"])), errors


def label_noise(s: Signals) -> Finding | None:
    """Labels that predictions of unseen images contradict, and copies with two labels."""
    share, n = s.last("audit-labels", "share", 0), s.last("audit-labels", "n", 0)
    conflicts = s.last("audit-labels", "conflicts", 0)
    noisy = share > SHARE and s.last("audit-labels", "judged", 0) > 0
    if not noisy and not conflicts:
        return None
    said = [f"About {share:.1%} of the labels have nothing to do with their images, as far as predictions of images held out can tell; {s.last('audit-labels', 'wrong', 0):,.0f} are named that are likelier wrong than right."] if noisy else []  # fmt: skip
    said += [f"{conflicts:,.0f} pair{'s' * (conflicts != 1)} of copies carr{'y' if conflicts != 1 else 'ies'} two different labels: one of the two is wrong."] if conflicts else []  # fmt: skip
    file = s.facts.get("exclude_labels", "")
    # Beyond a tenth the bad labels cost real accuracy; two labels for one picture are a fact.
    severity = "warning" if noisy or conflicts > 0.002 * max(n, 1) else "info"
    return finding(
        severity, 0.9 if share > 2 * SHARE or not noisy else 0.7, "labels", 0, " ".join(said),
        ["look at the suspects in the page and correct their labels", *([f"data.exclude={file}"] if file else [])],
        share=share, suspects=s.last("audit-labels", "wrong", 0), conflicts=conflicts,
        out_of_fold_error=s.last("audit-labels", "error", 0), images=n,
    )  # fmt: skip


def class_imbalance(s: Signals) -> Finding | None:
    """Classes of very different size, counted over all training images."""
    counts = s.facts.get("class_counts", {})
    if len(counts) < 2 or sum(counts.values()) < 50:
        return None
    high, low = max(counts.values()), min(counts.values())
    if high < RATIO * max(low, 1):
        return None
    rare, usual = min(counts, key=lambda k: counts[k]), max(counts, key=lambda k: counts[k])
    return finding(
        "warning", 0.95, "train split", 0,
        f"Class '{usual}' has {high:,} training images, class '{rare}' {low:,}: {high / max(low, 1):.0f} times as many. "
        "The loss is lowest for a network that forgets the rare ones.",
        ["collect images of the rare classes, or weigh them in the loss", f"data.drop={rare}"],
        ratio=high / max(low, 1), largest=high, smallest=low,
    )  # fmt: skip


def label_invalid(s: Signals) -> Finding | None:
    """Labels that mean nothing for training: classes without enough images to be divided."""
    poor = s.facts.get("undivided", "")
    if not poor:
        return None
    return finding(
        "error", 1.0, "labels", 0, f"The images cannot be divided into train, validation and test: {poor}.",
        s.facts.get("undivided_cure", []), images=s.last("split", "n", 0),
    )  # fmt: skip


def input_not_normalized(s: Signals) -> Finding | None:
    """Channels that never vary, or images without content."""
    constant, blank = s.last("input", "constant_channels", 0), s.last("input", "blank", 0)
    n, equal = s.last("input", "n", 0), s.last("input", "equal_channels", 0)
    if not constant and not equal and blank < max(2, 0.001 * n):
        return None
    said = [f"{constant:.0f} of the channels never vary: dividing by their deviation is no normalization."] if constant else []  # fmt: skip
    said += ["The three channels are the same in every image: they are grey."] if equal else []
    said += [f"{blank:,.0f} of {n:,.0f} images are blank: one color all over."] if blank else []
    cures = ["data.channels=1"] if equal else []
    if file := s.facts.get("exclude_blank", ""):
        cures.append(f"data.exclude={file}")
    return finding(
        "warning" if constant or (blank >= 0.001 * n and blank) else "info", 0.95, "input", 0, " ".join(said),
        cures or ["leave the constant channels out of the images"], constant_channels=constant, blank=blank, images=n,
        equal_channels=equal,
    )  # fmt: skip


READINGS: dict[str, Callable[[Signals], Finding | None]] = {
    "label-invalid": label_invalid,
    "input-not-normalized": input_not_normalized,
    "label-noise": label_noise,
    "class-imbalance": class_imbalance,
}
