"""Reading the errors: the lecture's table of symptoms, from the epochs of a run."""

from __future__ import annotations

from math import sqrt
from typing import Any

from visus.doctor.remedies import Chart, prescribe
from visus.ledger import Line

GAP = 0.08  # validation error above training error from which a network learns by heart
FAR = 0.25  # the same, so far that it need not wait for the validation loss to rise
POOR = 1.2  # times the linear model's error from which training error is huge


def read_errors(
    epochs: list[Line], baseline: dict[str, Any]
) -> tuple[str, dict[str, float], dict[str, Any]]:  # fmt: skip
    """What the newest epoch's errors say, the findings with their confidence, the evidence.

    Huge training error: underfitting, unless validation errs far less. Validation error above
    training error, and no longer falling, or far above it: overfitting. Training error far above
    validation error: a bad division, or labels of train that cannot be learned because they are
    wrong. Both errors are of eval mode on images without jitter, and apart where they are so beyond
    what as few images show by chance (two standard errors).
    """
    if not epochs or epochs[-1].get("validation_error") is None:
        return "no validation error to read", {}, {}
    last = epochs[-1]
    train, held = last["train_error"], last["validation_error"]
    evidence = {"train_error": train, "validation_error": held}
    linear, chance = baseline.get("linear_error"), baseline.get("chance_error")
    evidence |= {
        k: v for k, v in (("linear_error", linear), ("chance_error", chance)) if v is not None
    }
    if chance is not None and train > 0.85 * chance:
        return (
            "the training error is at chance level: it does not learn",
            {"underfitting": 0.8},
            evidence,
        )
    luck = 2 * _noise(train, held, last.get("judged"))
    if train - held > max(GAP, luck) and train > 1.2 * held:
        return "training errs far more than validation: wrong labels in train, or a bad division", {"label-noise": 0.6}, evidence  # fmt: skip
    if linear is not None and train > POOR * linear and train > 0.05 and _flat(epochs):
        return "training errs more than a linear model, and no longer improves: underfitting", {"underfitting": 0.7}, evidence  # fmt: skip
    if held - train > max(GAP, luck) and held > 2 * train and _rising(epochs):
        return "validation errs far more than training, and its loss rises: overfitting", {"overfitting": 0.7}, evidence  # fmt: skip
    if held - train > max(FAR, luck) and held > 1.5 * train:
        return "validation errs far more than training: overfitting", {"overfitting": 0.6}, evidence
    return "training and validation errors agree with a healthy training", {}, evidence


def doubtful(evidence: dict[str, Any]) -> bool:
    """Whether training errs no less than validation, though these are the images it learns from.

    Too little for a finding; enough to ask the neighbours of each image about its label.
    """
    return "train_error" in evidence and evidence["train_error"] >= evidence["validation_error"]


def _noise(train: float, held: float, judged: list[int] | None) -> float:
    """Standard error of the difference of two shares, of so many images each; 0 where not known."""
    pairs = zip((train, held), judged or (), strict=False)
    return sqrt(sum(max(0.0, e * (1 - e)) / max(1, n) for e, n in pairs))


def cures(name: str, chart: Chart) -> list[str]:
    """What may help against the finding in this very recipe, the likeliest first.

    Of two that set the same key otherwise, the second is left out: both cannot be followed.
    """
    found, taken = [], set()
    for t in prescribe(chart, least=0.0):
        if name in t.findings and not taken & t.keys:
            taken |= t.keys
            edits = ", ".join(edit if len(edit) < 60 else f"{edit[:56]} ..." for edit in t.edits)
            found.append(f"{t.title[:1].lower()}{t.title[1:]}: {edits}")
    return found


def _flat(epochs: list[Line]) -> bool:
    """Whether the training error of the last third of the epochs is no lower than before."""
    values = [line["train_error"] for line in epochs]
    third = max(1, len(values) // 3)
    return len(values) < 3 or min(values[-third:]) > 0.9 * min(values[:-third])


def _rising(epochs: list[Line]) -> bool:
    """Whether the validation loss is well above its least."""
    values = [line["validation_loss"] for line in epochs]
    return len(values) >= 3 and values[-1] > 1.1 * min(values) and values[-2] > min(values)
