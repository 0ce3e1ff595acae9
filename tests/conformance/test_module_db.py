"""PyTorch's `module_db`, with the class swapped for ours."""

from __future__ import annotations

from types import SimpleNamespace

import module_cases
import ours
import pytest
from suites import Mismatch, NotOurs, run_all
from torch import nn

# How many samples (over dtypes and modes) must pass: the selection cannot shrink unseen.
LEAST = {
    "AvgPool1d": 8, "AvgPool2d": 14, "AvgPool3d": 30, "MaxPool1d": 6, "MaxPool2d": 6,
    "MaxPool3d": 8, "BatchNorm1d": 32, "BatchNorm2d": 28, "BatchNorm3d": 28,
    "InstanceNorm1d": 24, "InstanceNorm2d": 24, "InstanceNorm3d": 24, "GroupNorm": 20,
    "LayerNorm": 14, "Conv1d": 8, "Conv2d": 8, "Conv3d": 8, "Linear": 6, "ReLU": 8, "LeakyReLU": 10,
    "ELU": 8, "Sigmoid": 8, "Tanh": 6, "Softmax": 6, "LogSoftmax": 8, "L1Loss": 10,
    "MSELoss": 16, "SmoothL1Loss": 16, "KLDivLoss": 20, "MarginRankingLoss": 10,
    "SoftMarginLoss": 8, "SiLU": 6, "GELU": 6, "NLLLoss": 56, "BCELoss": 12, "BCEWithLogitsLoss": 6,
    "CrossEntropyLoss": 210, "AdaptiveAvgPool2d": 10,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", LEAST)
def test_ours_pass_what_torch_tests_its_own_with(name, tally):
    counts, failures = run_all(
        module_cases.cases(name), lambda case: module_cases.check(case, ours.trained)
    )
    tally("module_db", counts)
    assert not failures, "\n".join(failures)
    here = hasattr(ours.trained, name)
    # Three quarters: other versions of PyTorch bring a few samples more or fewer.
    assert counts["passed"] >= LEAST[name] * here * 3 // 4, f"{name}: {counts}"


# Found by this suite, to be mended in visus.layers; here so that nobody takes it for granted.
@pytest.mark.parametrize("name", LEAST)
def test_ours_refuse_what_torch_refuses(name):
    try:
        module_cases.refuses(name, ours.trained)
    except NotOurs as reason:
        pytest.skip(str(reason))


def test_no_layer_of_ours_is_left_out():
    shared = {name for name in module_cases.database() if hasattr(ours.trained, name)}
    assert not shared - LEAST.keys(), "add these to LEAST"


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", LEAST)
def test_a_broken_layer_fails_every_sample(name):
    cls = getattr(nn, name)
    body = {
        "forward": lambda self, *a, **k: _off(cls.forward(self, *a, **k)),
        "__module__": "module_cases",
    }
    broken = type(f"Broken{name}", (cls,), body)
    setattr(module_cases, broken.__name__, broken)  # so that it can be pickled
    nn_like = SimpleNamespace(**{name: broken})
    held = [c for c in module_cases.cases(name) if not c.empty]
    counts, failures = run_all(held, lambda case: module_cases.check(case, nn_like))
    assert counts["passed"] == 0 < counts["failed"]
    assert all("AssertionError: output" in line for line in failures), failures


def _off(y):
    if isinstance(y, tuple):
        return (_off(y[0]), *y[1:])
    return y.nan_to_num() * 1.5 + 7.3


def test_a_layer_that_refuses_nothing_is_caught():
    anything = type("BatchNorm2d", (nn.Module,), {"__init__": lambda s, *a, **k: nn.Module.__init__(s), "forward": lambda s, x: x})  # fmt: skip
    with pytest.raises(Mismatch, match="accepted"):
        module_cases.refuses("BatchNorm2d", SimpleNamespace(BatchNorm2d=anything))
