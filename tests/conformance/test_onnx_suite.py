"""ONNX's node cases and PyTorch's exported models, run by visus' layers."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx", reason="the package onnx brings the cases")

import onnx_cases  # noqa: E402
import ours  # noqa: E402
from onnx_operators import CLASSES, LEAST, operators  # noqa: E402
from suites import run_all  # noqa: E402

LOADERS = {"node": onnx_cases.node_cases, "disk": onnx_cases.disk_cases}
SUITES = [
    pytest.param(kind, name, id=f"{kind}-{name}")
    for place, kind in enumerate(LOADERS)
    for name in operators
    if LEAST[name][place] is not None
]


def cases(kind: str, name: str) -> list:
    """The cases whose first layer is `name`: each case belongs to one operator."""
    return [
        case
        for case in LOADERS[kind]()
        if next((o for o in case.operators if o in operators), None) == name
    ]


@pytest.mark.parametrize(("kind", "name"), SUITES)
def test_layers_agree_with_onnx(kind, name, tally):
    counts, failures = run_all(cases(kind, name), lambda case: onnx_cases.check(case, ours.forward))
    tally(f"ONNX {kind}", counts)
    assert not failures, "\n".join(failures)
    least = LEAST[name][list(LOADERS).index(kind)]
    assert counts["passed"] >= least, f"{name}: {counts}, at least {least} must pass"


@pytest.mark.parametrize(("kind", "name"), SUITES)
def test_a_broken_layer_fails_its_cases(kind, name):
    broken = SimpleNamespace(**vars(nn) | {c: breaking(getattr(nn, c)) for c in ALL})
    held = cases(kind, name)
    healthy, _ = run_all(held, lambda case: onnx_cases.check(case, nn))
    sick, _ = run_all(held, lambda case: onnx_cases.check(case, broken))
    assert healthy["passed"] > 0
    assert sick["passed"] == 0, f"{name}: {sick['passed']} cases do not see a wrong output"


ALL = {
    c
    for name in CLASSES.values()
    for c in vars(nn)
    if c != "NLLLoss2d" and re.fullmatch(re.sub(r"\dd$", "", name) + r"(\dd)?", c)
}


def breaking(cls: Any) -> Any:
    """A subclass whose output is off by a tenth."""

    def forward(self, *args):
        y = cls.forward(self, *args)
        if isinstance(y, tuple):
            return (y[0] + 0.1, *y[1:])
        return y + 0.1 if isinstance(y, torch.Tensor) else y

    return type(f"Broken{cls.__name__}", (cls,), {"forward": forward})
