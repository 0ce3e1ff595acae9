"""Remedies for the task itself: the loss, the balance of the classes, suspected labels, the split."""

from __future__ import annotations

import json

from visus.doctor.remedies.treatment import Chart, Treatment, remedy


@remedy(cures=("loss-mismatch", "output-range", "underfitting"))
def right_loss(chart: Chart) -> Treatment | None:
    """The loss that suits the task: for classes cross entropy."""
    name = chart.get("loss.name")
    if name == "cross-entropy" or chart.get("task.name", "auto") not in ("auto", "classification"):
        return None
    return Treatment(("loss=cross-entropy",), f"the loss is '{name}'", 0.6)


@remedy(cures=("class-imbalance",))
def balanced_sampling(chart: Chart) -> Treatment | None:
    """Draw every class equally often."""
    if chart.get("training.balance", "none") != "none":
        return None
    ratio = chart.facts.get("imbalance", 1.0)
    said = f"the largest class has {ratio:.0f} times the images of the smallest"
    return Treatment(("training.balance=sampling",), said, 0.6 if ratio > 8 else 0.0)


@remedy(cures=("class-imbalance",))
def class_weights(chart: Chart) -> Treatment | None:
    """Weigh each image by how rare its class is."""
    if chart.get("training.balance", "none") != "none":
        return None
    ratio = chart.facts.get("imbalance", 1.0)
    said = f"the largest class has {ratio:.0f} times the images of the smallest"
    return Treatment(("training.balance=weights",), said, 0.55 if ratio > 8 else 0.0)


@remedy(cures=("label-noise",), fresh=False)
def quarantine(chart: Chart) -> Treatment | None:
    """Leave images with suspected labels out of training; they are listed, never deleted."""
    names = chart.facts.get("suspects") or []
    if not names or chart.get("training.quarantine"):
        return None
    share = len(names) / max(1, chart.facts.get("train", 1))
    said = f"the labels of {len(names)} training images ({share:.0%}) contradict what the network has learned from the others"
    return Treatment((f"training.quarantine={json.dumps(list(names))}",), said, 0.7 if share > 0.05 else 0.0)  # fmt: skip
