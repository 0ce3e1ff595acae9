"""Convolution and pooling as Keras' own tests compute them in NumPy, against the reference and our layers.

The package keras brings these functions in its test files. They are read from there, as they are, without
importing Keras: `pip install --no-deps keras`.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from suites import Mismatch, compare, run_all

from visus import layers
from visus.reference.convolution import convolution
from visus.reference.pooling import average_pool, max_pool

SPEC = importlib.util.find_spec("keras")
FOLDERS = list(SPEC.submodule_search_locations or []) if SPEC else []
KERAS = Path(FOLDERS[0]) / "src/layers" if FOLDERS else Path("nowhere")
TESTS = {
    "conv": "convolutional/conv_test.py",
    "max": "pooling/max_pooling_test.py",
    "average": "pooling/average_pooling_test.py",
}

pytestmark = pytest.mark.skipif(
    not all((KERAS / name).exists() for name in TESTS.values()),
    reason="Keras' test files are not here: pip install --no-deps keras",
)


def oracle(kind: str, name: str) -> Any:
    """The function `name` of a test file, and what it calls there."""
    tree = ast.parse((KERAS / TESTS[kind]).read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    found: dict[str, Any] = {"np": np, "as_strided": np.lib.stride_tricks.as_strided}
    exec(compile(tree, TESTS[kind], "exec"), found)
    return found[name]


def draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


# ---- convolution: Keras has channels last, and weights (*kernel, inputs, outputs) -------

SIZES = {1: (11,), 2: (9, 8), 3: (6, 5, 7)}
CONVOLUTIONS = [
    SimpleNamespace(name=f"conv{axes}d {kernel} stride {s} dilation {d} groups {g} {padding}", axes=axes, kernel=kernel, stride=s, dilation=d, groups=g, padding=padding)
    for axes, kernel, (s, d), g, padding in itertools.product(SIZES, (1, 2, 3), ((1, 1), (2, 1), (3, 1), (1, 2)), (1, 2), ("valid", "same"))
    if padding == "valid" or (s == 1 and kernel % 2)  # what torch can pad as well
]  # fmt: skip


def check_convolution(case: Any, off: float = 1.0) -> None:
    x, weight = draw(2, *SIZES[case.axes], 4), draw(*[case.kernel] * case.axes, 4 // case.groups, 6)
    keras = oracle("conv", f"np_conv{case.axes}d")
    wanted = keras(x, weight, np.arange(6.0), case.stride, case.padding, "channels_last", case.dilation, case.groups)  # fmt: skip
    options = {
        "stride": case.stride, "dilation": case.dilation, "groups": case.groups,
        "padding": case.dilation * (case.kernel - 1) // 2 if case.padding == "same" else 0,
    }  # fmt: skip
    inputs = np.moveaxis(x, -1, 1), np.moveaxis(weight, (-1, -2), (0, 1)), np.arange(6.0)
    ours = [convolution(*inputs, **options)]
    if case.axes < 3:
        module = getattr(layers, f"Conv{case.axes}d")(4, 6, case.kernel, **options).double()
        for into, array in zip((module.weight, module.bias), inputs[1:], strict=True):
            into.data = torch.tensor(array)
        ours.append(module(torch.tensor(inputs[0])).detach().numpy())
    for y in ours:
        compare(case.name, np.moveaxis(y, 1, -1) * off, wanted, rtol=1e-12, atol=1e-12)


# ---- pooling ----------------------------------------------------------------------------

POOLS = [
    SimpleNamespace(name=f"{kind} pool {axes}d {kernel} stride {stride}", kind=kind, axes=axes, kernel=kernel, stride=stride)
    for kind, axes, kernel, stride in itertools.product(("max", "average"), SIZES, (1, 2, 3), (1, 2, 3))
]  # fmt: skip
REFERENCE = {"max": max_pool, "average": average_pool}
LAYERS = {"max": layers.MaxPool2d, "average": layers.AvgPool2d}
NAMES = {"max": "max", "average": "avg"}


def check_pool(case: Any, off: float = 1.0) -> None:
    x = draw(2, *SIZES[case.axes], 3)
    size, step = (case.kernel,) * case.axes, (case.stride,) * case.axes
    if case.axes == 1:
        size, step = case.kernel, case.stride
    keras = oracle(case.kind, f"np_{NAMES[case.kind]}pool{case.axes}d")
    wanted, planes = keras(x, size, step, "valid", "channels_last"), np.moveaxis(x, -1, 1)
    ours = [REFERENCE[case.kind](planes, case.kernel, stride=case.stride)]
    if case.axes == 2:
        ours.append(LAYERS[case.kind](case.kernel, case.stride)(torch.tensor(planes)).numpy())
    for y in ours:
        compare(case.name, np.moveaxis(y, 1, -1) * off, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cases", "check"), [(CONVOLUTIONS, check_convolution), (POOLS, check_pool)], ids=["convolution", "pooling"])  # fmt: skip
def test_keras_computes_the_same(cases, check, tally):
    counts, failures = run_all(cases, check)
    tally("Keras' NumPy oracles", counts)
    assert not failures, "\n".join(failures)
    assert counts["passed"] == len(cases) >= 50


@pytest.mark.parametrize(("case", "check"), [(CONVOLUTIONS[0], check_convolution), (POOLS[0], check_pool)], ids=["convolution", "pooling"])  # fmt: skip
def test_a_wrong_output_is_seen(case, check):
    with pytest.raises(Mismatch):
        check(case, 1.001)
