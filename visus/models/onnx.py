"""ONNX export, checked by running the file beside the model."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visus.errors import RunError, VisusError
from visus.files import replace

BATCHES = (1, 5)
TOLERANCE = 1e-4


def export_onnx(
    model: nn.Module, path: str | Path, channels: int, size: tuple[int, int], classes: list[str],
    output: str = "logits", task: str = "classification",
) -> dict[str, Any]:  # fmt: skip
    """Write `model` ((N, channels, *size) in [0, 1] to (N, K) logits) as ONNX with any batch size N.

    The file's metadata carries the class names and the task; `output` names what leaves it. onnxruntime runs it on random images in batches
    of 1 and 5; raises `VisusError` where a logit differs by more than 1e-4 of the largest one.
    Returns file, bytes, images, and the largest difference.
    """
    _need()
    images = torch.rand(max(BATCHES), channels, *size, generator=torch.Generator().manual_seed(0))
    path = replace(path, lambda temporary: _write(model, images, temporary, classes, output, task))
    difference = _check(model, images, path)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "images": sum(BATCHES),
        "difference": difference,
    }


def _need() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RunError(
            f"export: package '{error.name}' is not installed; pip install 'visus[onnx]'"
        ) from None


def _write(
    model: nn.Module, images: Tensor, path: Path, classes: list[str], output: str, task: str
) -> None:  # fmt: skip
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model, (images,), dynamo=True, verbose=False, input_names=["images"], output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"classes": "\n".join(classes), "task": task})
    onnx.save(proto, path)


def _check(model: nn.Module, images: Tensor, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in BATCHES:
        with torch.no_grad():
            expected = model(images[:count])
        got = torch.from_numpy(session.run(None, {"images": images[:count].numpy()})[0])
        worst = max(
            worst, float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
        )
    if not worst <= TOLERANCE:
        raise VisusError(
            f"export: onnxruntime differs from the model by {worst:.1e} of the largest logit, more than {TOLERANCE:.0e}; do not use {path}"
        )
    return worst
