"""What a person calls: train, inspect, evaluate, predict, export. The commands are these functions.

The only room that knows data, training, doctor and report together.
"""

from visus.api.audit import Audit, audit
from visus.api.inspecting import inspect
from visus.api.look import evaluate, sentence
from visus.api.procedure import train
from visus.api.run import Run
from visus.api.tune import Study, tune
from visus.api.use import export, predict

__all__ = [
    "Audit", "Run", "Study", "audit", "evaluate", "export", "inspect", "predict", "sentence", "train", "tune",
]  # fmt: skip
