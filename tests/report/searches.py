"""Fabricated ledgers of `visus tune`."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visus.ledger import Line

sys.path.insert(0, str(Path(__file__).parent))
from ledgers import EVIL, Writer

SPACE = [
    {"name": "optimizer.name", "key": "optimizer.name", "choices": ["adamw", "sgd"]},
    {"name": "optimizer.rate", "key": "optimizer.rate", "low": 0.03, "high": 10, "log": True, "times": True},
    {"name": "optimizer.sgd.momentum", "key": "optimizer.momentum", "low": 0.7, "high": 0.98, "log": False},
    {"name": "model.dropout", "key": "model.dropout", "low": 0.0, "high": 0.5, "log": False},
]  # fmt: skip


def search(trials: int = 30, *, ended: bool = True) -> list[Line]:
    """The ledger of `visus tune`: trials that were pruned, diverged, failed or finished, and finals."""
    write, draw = Writer(), random.Random(3)
    write.write("run", version="0.1.0", command="visus tune photos", folder="runs/photos-tune")
    write.write("study", name="visus-1", storage="sqlite:///x/study.db", epochs=18, rungs=[2, 6, 18],
                trials=trials, finals=2, done=0, space=SPACE)  # fmt: skip
    for n in range(trials):
        write.write("tuning-trial", **_trial(n, draw))
    for n, (of, seed) in enumerate((of, seed) for of in (0, 7) for seed in (1, 2)):
        write.write("tuning-trial", number=trials + n, state="done", role="final", of=of, seed=seed, values={},
                    error=0.02 / (1 + of), loss=0.1, epochs=18, seconds=4.0, curve=[[18, 0.02]], reason="")  # fmt: skip
    finals = [{"number": 0, "errors": [0.02, 0.02]}, {"number": 7, "errors": [0.0025, 0.0025]}]
    if ended:
        write.write("tuning-result", chosen=7, values={"optimizer.rate": 0.05}, error=0.0025, default=0,
                    default_error=0.02, finals=finals, counts={"done": 9, "pruned": 20}, seconds=99.0, file="best.toml",
                    importance={"optimizer.rate": 0.7, "optimizer.name": 0.2, "optimizer.sgd.momentum": 0.1})  # fmt: skip
        write.write("end", status="done", message="", metrics={"validation_error": 0.0025})
    return write.lines


def _trial(n: int, draw: random.Random) -> dict[str, Any]:
    state = "done" if n % 4 in (0, 3) else ("pruned", "diverged", "failed", "late")[n % 5 % 4]
    name = draw.choice(["adamw", "sgd"])
    values = {
        "optimizer.name": name,
        "optimizer.rate": 10 ** draw.uniform(-4, 0),
        "model.dropout": draw.random() / 2,
    }
    values |= {"optimizer.momentum": draw.uniform(0.7, 0.98)} if name == "sgd" else {}
    error = None if state in ("diverged", "failed") else draw.uniform(0.002, 0.9)
    reason = "training: the loss is nan at step 3" if state == "diverged" else ""
    return {"number": n, "state": state, "role": "search" if n else "default", "values": values, "error": error,
            "loss": 0.4, "epochs": 18 if state == "done" else 2, "seconds": 1.5, "curve": [[2, error]], "reason": reason}  # fmt: skip


def evil_search() -> list[Line]:
    """A search whose keys and values are bait."""
    lines = search(6)
    for line in lines:
        for old, new in zip(("optimizer.rate", "optimizer.name"), EVIL, strict=False):
            if isinstance(line.get("values"), dict) and old in line["values"]:
                line["values"][new] = line["values"].pop(old)
    return [line for line in lines if line["kind"] not in ("run", "end")]


def scrambled_search() -> list[Line]:
    """All fields of the wrong type."""
    odd = [None, "text", 3, [], {}, [None], [[]], {"a": None}, True]
    lines = search(20)
    for n, line in enumerate(lines):
        for i, key in enumerate(k for k in line if k not in ("kind", "t")):
            line[key] = odd[(n + i) % len(odd)]
    return lines


CASES: dict[str, Callable[[], list[Line]]] = {
    "search": search,
    "search begun": lambda: search(3, ended=False)[:3],
    "search half way": lambda: search(12, ended=False),
    "search, all plain": lambda: [line for line in search(1) if line["kind"] != "tuning-result"],
    "search, wrong types": scrambled_search,
    "search, evil": evil_search,
}
