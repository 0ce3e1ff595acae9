"""The rule `training-slow-input`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("timing",))
def training_slow_input(s: Signals) -> Finding | None:
    """Steps wait for their data longer than they compute.

    What: the data loader takes more than 60 % of the time of a step, and over 5 ms.
    Why: the processor (or the graphics card) is idle while single samples are read and
    decoded.
    How: the time inside the loader's `next`, against the time of the step; the median over steps
    without an evaluation.
    Cure: num_workers above 0, decode once and keep the result, smaller files, batched reading.
    Not: tiny networks on tensors in memory, where a few microseconds a sample are all there is.
    Source: PyTorch performance tuning guide.
    """
    share, wait = s.median("loader", "share", 0.0), s.median("loader", "wait", 0.0)
    if len(s.values("loader", "share")) < 5 or share < 0.6 or wait < 0.005:
        return None
    return finding(
        "warning", 0.9, "data loader", 0,
        f"A step waits {wait * 1e3:.1f} ms for its batch: {share:.0%} of its time.",
        ["load with several workers: DataLoader(..., num_workers=2)",
         "decode and resize once, and keep the result in memory"],
        wait_seconds=wait, share=share,
    )  # fmt: skip
