"""The rule `norm-batch-too-small`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("norms",))
def norm_batch_too_small(s: Signals) -> Finding | None:
    """Batch normalization estimates mean and variance from very few samples.

    What: batch normalization in training mode with four samples or fewer in a batch.
    Why: the statistics then carry noise of about 1/sqrt(N): each sample's result depends on
    its batch mates, and the running statistics used at test time describe another network.
    How: the number of samples in the input of each batch normalization; the median over steps.
    Cure: a larger batch, or GroupNorm / LayerNorm, which do not look at the batch.
    Not: gradient accumulation does not enlarge the batch that the layer sees; a small last batch
    of an epoch is no finding. SyncBatchNorm counts all ranks and is left out.
    Source: Wu, He 2018, Group normalization, figure 1; Ioffe 2017, Batch renormalization.
    """
    places = [p for p in s.places("norm_batch") if s.median(p, "norm_training", 0) > 0.5]
    small = [p for p in places if s.median(p, "norm_batch") < 8]
    if not small:
        return None
    n = s.median(small[0], "norm_batch")
    return finding(
        "warning" if n <= 4 else "info", 0.85, ", ".join(small[:4]), 0,
        f"Batch normalization sees {n:.0f} samples at a time: its statistics are off by about {1 / n**0.5:.0%} "
        "of a standard deviation, otherwise in each batch.",
        ["raise the batch size to 16 or more", "or replace BatchNorm by GroupNorm"],
        samples=n, layers=len(small), noise=1 / n**0.5,
    )  # fmt: skip
