"""The lecture's own claims as experiments that anyone can rerun: figure, numbers, verdict.

To add one, define a class in a file of this folder with `@experiments.member`; see `experiment.py`.
The members are loaded at the first look, so `import visus.lab` stays free of torch.
"""

from __future__ import annotations

from visus.family import Family

experiments = Family("experiment", package=__package__)
TOPICS = (
    "activations", "initialization", "batch norm", "norms", "convolution", "losses",
    "regularization", "procedure",
)  # fmt: skip

__all__ = ["TOPICS", "experiments"]
