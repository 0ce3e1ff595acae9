"""The test cases that come with the package `onnx`, and a small interpreter to run them.

Node cases are built in memory by the modules of `onnx.backend.test.case.node`; only the
modules of our operators are imported (all of them take twice as long). The models that
PyTorch once exported lie on disk, each with its inputs and expected outputs.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from onnx_operators import GLUE, operators
from suites import NotOurs, compare

MODULES = [
    "averagepool",
    "batch_normalization",
    "celu",
    "conv",
    "dropout",
    "elu",
    "gemm",
    "globalaveragepool",
    "globalmaxpool",
    "groupnormalization",
    "instance_normalization",
    "layernormalization",
    "leakyrelu",
    "logsoftmax",
    "maxpool",
    "meanvariancenormalization",
    "negativeloglikelihoodloss",
    "prelu",
    "relu",
    "selu",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy_loss",
    "softplus",
    "tanh",
]


@dataclass(frozen=True)
class Case:
    """One model with one or more sets of inputs and expected outputs (NumPy)."""

    name: str
    model: onnx.ModelProto
    data: list[tuple[list, list]]
    rtol: float
    atol: float

    @property
    def operators(self) -> list[str]:
        return [node.op_type for node in self.model.graph.node]


@cache
def node_cases() -> list[Case]:
    """The cases that the ONNX standard gives for single operators."""
    import onnx.backend.test.case.node as node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in MODULES:
            importlib.import_module(f"{node.__name__}.{module}")
    # An "expanded" case is the same operator spelt out in others that are not layers.
    wanted = [c for c in node._NodeTestCases if "_expanded" not in c.name]
    return [Case(c.name, c.model, c.data_sets, c.rtol, c.atol) for c in wanted]


@cache
def disk_cases() -> list[Case]:
    """The models on disk that PyTorch exported (`pytorch-converted`, `pytorch-operator`)."""
    from onnx.backend.test.loader import load_model_tests

    found = load_model_tests(kind="pytorch-converted") + load_model_tests(kind="pytorch-operator")
    return [_read(case) for case in sorted(found, key=lambda case: case.name)]


def _read(case: Any) -> Case:
    folder = Path(case.model_dir)
    sets = [
        (_tensors(data, "input"), _tensors(data, "output"))
        for data in sorted(folder.glob("test_data_set_*"))
    ]
    return Case(case.name, onnx.load(folder / "model.onnx"), sets, case.rtol, case.atol)


def _tensors(folder: Path, kind: str) -> list:
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda f: int(f.stem.rsplit("_", 1)[1]))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(f.read_bytes())) for f in files]


def check(case: Case, nn: Any) -> None:
    """Run `case` with the layers of the namespace `nn`; raise where an output differs."""
    for inputs, expected in case.data:
        outputs = run(case.model, inputs, nn)
        compared = 0
        for info, array, ours in zip(case.model.graph.output, expected, outputs, strict=False):
            if ours is not None:
                compare(info.name, ours.detach().double().numpy(), array, case.rtol, case.atol)
                compared += 1
        if not compared:
            raise AssertionError(f"{case.name}: no output was compared")


def run(model: onnx.ModelProto, inputs: list, nn: Any) -> list:
    """The outputs of `model`; None for an output that our layers do not have."""
    graph = model.graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    free = [info.name for info in graph.input if info.name not in held]
    held |= dict(zip(free, inputs, strict=False))
    values: dict[str, Any] = {name: torch.as_tensor(array.copy()) for name, array in held.items()}
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    for node in graph.node:
        arguments = [values[name] if name else None for name in node.input]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in operators:
            results = operators[node.op_type](nn, opset, arguments, attributes, len(node.output))
        elif node.op_type in GLUE:
            results = GLUE[node.op_type](arguments, attributes)
        else:
            raise NotOurs(f"operator {node.op_type} is no layer of visus")
        values |= dict(zip(node.output, results, strict=False))
    return [values.get(info.name) for info in graph.output]
