"""Trials: a remedy is tried on a fork, beside a control, and kept only where it helped.

    trials, spent = contest(patient, treatments, steps=40, budget=200)
    kept = next((t for t in trials if t.kept), None)

`Patient` is what a training must be able to do; a loop of one's own can offer it.
"""

from visus.doctor.trials.compare import SPREAD, Difference, paired, pooled
from visus.doctor.trials.contest import LEAST, Arm, Trial, contest, trial
from visus.doctor.trials.patient import Answers, Patient

__all__ = [
    "LEAST",
    "SPREAD",
    "Answers",
    "Arm",
    "Difference",
    "Patient",
    "Trial",
    "contest",
    "paired",
    "pooled",
    "trial",
]
