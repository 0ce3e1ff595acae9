"""Checkpoints: tensors in safetensors, numbers in JSON, written whole or not at all.

A checkpoint is a pair `checkpoint-STEP.safetensors` and `.json`; the JSON is written last and
holds the sha256 of the tensors, so a pair is complete or does not count. The newest two are
kept; a damaged one is passed over. Nothing that is loaded can run code.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from visus import files
from visus.errors import RunError

KEPT = 2


def save(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> Path:
    """Write the checkpoint of `facts["step"]` and remove all but the newest two."""
    stem = folder / f"checkpoint-{facts['step']:09d}"
    path = write(stem, tensors, facts)
    for old in _stems(folder)[KEPT:]:
        # The JSON goes first: a pair that is half removed is no checkpoint.
        old.with_suffix(".json").unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]] | None:
    """Tensors and facts of the newest sound checkpoint and notes on damaged ones, or None.

    Raises `RunError` where there are checkpoints and none is sound.
    """
    notes: list[str] = []
    for stem in _stems(folder):
        try:
            return *read(stem), notes
        except RunError as error:
            notes.append(str(error))
    if notes:
        raise RunError(f"{notes[0]}; no older one is left; start anew with another --out")
    return None


def seconds(folder: Path) -> float:
    """Seconds that the run in `folder` had taken by its newest checkpoint; 0 without one."""
    for stem in _stems(folder):
        with suppress(OSError, ValueError, AttributeError, TypeError):
            return float(json.loads(stem.with_suffix(".json").read_text()).get("seconds", 0.0))
    return 0.0


def write(stem: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> Path:
    """Write `stem`.safetensors, then `stem`.json with its sha256."""
    whole = {name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()}
    path = stem.with_suffix(".safetensors")
    try:
        files.replace(path, lambda temporary: _save(whole, temporary))
    except RunError:
        raise
    except Exception as error:  # safetensors has an exception of its own for a full disk
        raise RunError(
            f"write: cannot write {path}: {error}; free space or choose another --out"
        ) from None
    files.replace_json(stem.with_suffix(".json"), facts | {"sha256": _digest(path)})
    return path


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors makes files that only their owner may read


def read(stem: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of one pair; `RunError` where it is damaged or not there."""
    path = stem.with_suffix(".safetensors")
    try:
        facts = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        if facts["sha256"] != _digest(path):
            raise ValueError("its sha256 is not the one that was written")
        return load_file(path), facts
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"checkpoint: {path} is damaged: {reason}") from None


def _stems(folder: Path) -> list[Path]:
    found = sorted(folder.glob("checkpoint-*.json"), reverse=True)
    return [path.with_suffix("") for path in found]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clones(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that later steps leave alone."""
    return {name: torch.clone(tensor) for name, tensor in tensors.items()}
