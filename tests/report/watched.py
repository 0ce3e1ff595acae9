"""Fabricated ledgers of watched programs: what the doctor writes, in the shapes a page must stand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from visus.ledger import Line, plain

LOOKS = [0, 1, 2, 4, 8, 16, 31, 61, 121, 241]
KINDS = ["watch", "watching", "layers", "signal", "histogram", "landscape"]


class Writer:
    """Collects lines with a clock of its own."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, kind: str, **fields: Any) -> None:
        self.lines.append({"kind": kind, "t": 1.79e9 + len(self.lines) * 0.05, **plain(fields)})


def watched(
    *, layers: int = 6, looks: list[int] | None = None, name: str = "features.{}", sick: bool = True,
    seed: int = 0, until: str = "end",
) -> list[Line]:  # fmt: skip
    """A program whose ReLUs die because its rate is too large; `sick=False`: all is well."""
    write, draw, looks = Writer(), random.Random(seed), looks or LOOKS
    names = [name.format(3 * i) for i in range(layers)]
    write.write("watch", script="/home/ada/train.py", args=["--epochs", "5"], max_steps=300)
    rows = [
        {"place": n, "kind": "conv2d", "act": "relu", "norm": "", "units": 32, "fan_in": 288}
        for n in names
    ]
    write.write("layers", layers=rows)
    for step in range(0, 300, 5):
        loss = 2.3 + (4 * math.exp(-step / 20) if sick else -2.1 * (1 - math.exp(-step / 60)))
        write.write(
            "step",
            step=step,
            steps=300,
            loss=loss + draw.gauss(0, 0.03),
            rate=0.1,
            seconds=step / 50,
        )
    write.write("signal", place="loss", quantity="value", steps=looks,
                values=[2.3 + (4 * math.exp(-s / 20) if sick else -2.1 * (1 - math.exp(-s / 60))) for s in looks])  # fmt: skip
    for depth, place in enumerate(names):
        _layer(write, place, depth, looks, sick, draw)
    write.write("signal", place="optimizer", quantity="update", steps=looks,
                values=[(0.3 if sick else 0.004) / (1 + s / 40) for s in looks])  # fmt: skip
    for step in looks[:: max(1, len(looks) // 4)]:
        _landscape(write, step, sick)
    if sick:
        _findings(write, names)
    write.write(
        "end",
        status="stopped",
        message="--max-steps 300 reached",
        steps=300,
        seconds=8.4,
        overhead=0.018,
        errors=[],
    )
    kinds = [line["kind"] for line in write.lines]
    return write.lines if until == "end" else write.lines[: kinds.index(until)]


def _layer(
    write: Writer, place: str, depth: int, looks: list[int], sick: bool, draw: random.Random
) -> None:
    fade = 0.35**depth if sick else 0.95**depth
    series = {
        "rms": [
            fade * (1.0 + 0.1 * draw.random()) * (1 - 0.8 * sick * min(s / 200, 1)) for s in looks
        ],
        "gradient": [0.02 * fade / (1 + s / 30) for s in looks],
        "update": [(0.4 if sick else 0.003) * (0.6 + draw.random()) / (1 + s / 60) for s in looks],
        "dead": [min(1.0, (0.2 + 0.12 * depth) * min(s / 30, 1)) * sick for s in looks],
        "zero": [0.5 + 0.45 * sick * min(s / 40, 1) for s in looks],
    }
    for quantity, values in series.items():
        write.write("signal", place=place, quantity=quantity, steps=looks, values=values)
    for n, step in enumerate(looks):
        wide = 2 * fade * (1 - 0.7 * sick * n / len(looks))
        edges = [round(-0.25 + 4.25 * i / 32, 4) for i in range(33)]
        counts = [
            round(4000 * math.exp(-(((edges[i] + 0.07) / max(wide, 0.05)) ** 2)))
            * (edges[i] >= -0.14)
            for i in range(32)
        ]
        write.write(
            "histogram",
            step=step,
            place=place,
            quantity="activation",
            edges=edges,
            counts=counts,
            low=0,
            high=3,
        )
        write.write("histogram", step=step, place=place, quantity="gradient", edges=[-0.1, -0.03, 0.0, 0.03, 0.1],
                    counts=[3, 100, 120, 5], low=0, high=0)  # fmt: skip


def _landscape(write: Writer, step: int, sick: bool) -> None:
    rates = [0.1 * 10 ** (k / 2) for k in range(-6, 5)]
    best = 0.004 if sick else 0.3
    losses = [
        2.3 * (1 - 0.4 * math.exp(-(math.log10(r / best) ** 2)))
        + (50 * max(0.0, r - 10 * best)) ** 2
        for r in rates
    ]
    write.write("landscape", step=step, rate=0.1, rates=rates, losses=losses, before=2.3)


def _findings(write: Writer, names: list[str]) -> None:
    rate = {"id": "learning-rate-too-large", "severity": "error", "confidence": 0.95, "where": "optimizer",
            "first_step": 0, "explanation": "At a rate of 0.1 83% of the tested steps raised the loss of their own batch; the "
            "loss went from 2.3 to 6.31, while 0.1 times the rate reaches 1.2 (this rate: 5.9) in 24 steps.",
            "evidence": {"rate": 0.1, "steps_uphill": 0.83, "loss_first": 2.3, "loss_last": 6.31},
            "remedies": ["lower the learning rate to about 0.01", "warm up over the first steps, clip the gradient norm"]}  # fmt: skip
    write.write("finding", **rate, causes=[], early=True)
    write.write("watching", doing="the program has ended; trying other rates on a copy")
    write.write("finding", **rate, causes=[], early=False)
    write.write("finding", id="relu-dead", severity="error", confidence=0.9, where=names[-1], first_step=31,
                explanation=f"92% of the units of {names[-1]} answered zero to every sample of the last recorded batches.",
                evidence={"dead": 0.92, "at_first_step": 0.0, "layers": 3}, causes=["learning-rate-too-large"], early=False,
                remedies=["lower the learning rate", "start biases at zero and weights with kaiming_normal_"])  # fmt: skip
    write.write("finding", id="gradient-vanishing", severity="warning", confidence=0.85, where=", ".join(names[:2]), first_step=61,
                explanation="The gradient at the first layers is 0.0004 of that at the last.", early=False,
                evidence={"ratio": 0.0004, "depth": len(names)}, causes=["relu-dead"], remedies=["add normalization layers"])  # fmt: skip
    write.write("finding", id="underfitting", severity="info", confidence=0.6, where="network", first_step=300,
                explanation="The training loss rests at 2.31.", evidence={"chance": 2.303}, causes=["relu-dead"], early=False,
                remedies=["use more units"])  # fmt: skip


def odd() -> list[Line]:
    """Numbers that are not finite, one look only, empty series, edges that do not fit."""
    lines = watched(layers=2, looks=[0])
    more = Writer()
    more.write(
        "signal", place="features.0", quantity="rms", steps=[1, 2], values=[math.nan, math.inf]
    )
    more.write(
        "signal", place="features.3", quantity="gradient", steps=[0, 1, 2], values=[0.0, 0.0, 0.0]
    )
    more.write(
        "signal", place="loss", quantity="value", steps=[1, 2, 3], values=[1e30, math.inf, math.nan]
    )
    more.write(
        "histogram",
        step=3,
        place="features.0",
        quantity="activation",
        edges=[0, 0],
        counts=[5],
        low=0,
        high=0,
    )
    more.write(
        "histogram",
        step=3,
        place="features.0",
        quantity="activation",
        edges=[0, 1],
        counts=[5, 6],
        low=0,
        high=0,
    )
    more.write(
        "landscape",
        step=3,
        rate=0.1,
        rates=[0.0, 0.1, 1.0],
        losses=[2.3, math.nan, math.inf],
        before=2.3,
    )
    return [*lines[:-1], *more.lines, lines[-1]]


def failed() -> list[Line]:
    lines = watched(layers=2)[:2]
    end = {
        "status": "failed",
        "message": "RuntimeError: mat1 and mat2 shapes cannot be multiplied (train.py, line 7)",
    }
    return [
        *lines,
        {
            "kind": "end",
            "t": 1.79e9 + 9,
            **end,
            "steps": 0,
            "seconds": 0.2,
            "overhead": 0.0,
            "errors": [],
        },
    ]


CASES: dict[str, Callable[[], list[Line]]] = {
    "watched": watched,
    "watched healthy": lambda: watched(sick=False),
    "watched deep": lambda: watched(
        layers=60, name="encoder.blocks.{}.attention.output.projection"
    ),
    "watched long": lambda: watched(layers=4, looks=[*LOOKS, *range(300, 9000, 90)]),
    "watched two layers": lambda: watched(layers=2, looks=[0, 1]),
    "watched evil": lambda: watched(layers=3, name='"><script>alert({})</script>\x1b[31m'),
    "watched begun": lambda: watched(until="histogram"),
    "watched odd": odd,
    "watched failed": failed,
}
