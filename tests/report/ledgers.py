"""Fabricated ledgers: what training writes, in all the shapes a report must stand.

`ledger(...)` makes the lines of one run, deterministic by its seed; `CASES` names the shapes
that hurt. The lines pass through `visus.ledger.plain`, as real ones do.
"""

from __future__ import annotations

import base64
import math
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from visus.ledger import Line, plain

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
# The kinds of the interface between training and report, as the team fixed it.
KINDS = [
    "run",
    "environment",
    "recipe",
    "data",
    "split",
    "model",
    "sheet",
    "threads",
    "range-test",
    "plan",
    "step",
    "epoch",
    "checkpoint",
    "resume",
    "stop",
    "look",
    "confusion",
    "per-class",
    "mistakes",
    "finding",
    "trial",
    "stage",
    "study",
    "tuning-trial",
    "tuning-result",
    "end",
]
EVIL = [
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "\"quoted' & <b>bold</b>",
    "]]> --> </svg> </script>",
    "name\x1b[31mwith\x00control\x07",
    "lone \udcff surrogate",
    "ünïcödé 犬 🐕 עברית",
    "right\u202eto left",
    "{{ 7 * 7 }} {% raw %}",
    "https://example.org/x.png",
]


def png(seed: int, side: int = 8) -> str:
    """A small colored PNG as base64, made without any image library."""
    draw = random.Random(seed)
    a, b = (tuple(draw.randrange(40, 240) for _ in range(3)) for _ in range(2))
    rows = b"".join(
        b"\0" + b"".join(bytes(a if (x // 2 + y // 2) % 2 else b) for x in range(side))
        for y in range(side)
    )
    parts = [
        (b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


class Writer:
    """Collects lines with a clock that only moves when told."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.t = 1_790_000_000.0

    def write(self, kind: str, after: float = 0.1, **fields: Any) -> None:
        self.t += after
        self.lines.append({"kind": kind, "t": round(self.t, 3), **plain(fields)})


def ledger(
    *,
    names: list[str] | None = None,
    epochs: int = 20,
    steps: int = 60,
    n: int = 10_000,
    best_error: float = 0.17,
    seed: int = 0,
    image: Callable[[int, str], str] = lambda i, name: png(i),
    source: str = "/home/ada/photos/cifar10",
    until: str = "end",
) -> list[Line]:
    """The lines of a whole run; `until` cuts it before the first line of that kind."""
    names, write, draw = names or CIFAR, Writer(), random.Random(seed)
    _begin(write, names, n, source, image)
    _train(write, epochs, steps, best_error, draw)
    _judge(write, names, n, best_error, draw, image)
    write.write("end", status="done", message="", metrics={"test_error": best_error})
    kinds = [line["kind"] for line in write.lines]
    return write.lines if until == "end" else write.lines[: kinds.index(until)]


def _begin(write: Writer, names: list[str], n: int, source: str, image: Callable) -> None:
    k = len(names)
    write.write("run", version="0.1.0", command=f"visus train {source}", folder="runs/cifar10-1")
    write.write("environment", python="3.11.7", torch="2.13.0+cpu", device="cpu", threads=2,
                cpu="AMD EPYC 7R13", allocator="pages kept", platform="Linux-6.1-x86_64")  # fmt: skip
    write.write("recipe", recipe={
        "seed": 0, "precision": "float32",
        "data": {"size": None, "validation": 0.1, "test": 0.1, "drop": []},
        "jitter": {"flip": {}, "crop": {"pixels": 4}, "cutout": {"side": 8}},
        "model": {"name": "fast", "norm": "batch", "activation": "relu", "dropout": 0.0},
        "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"name": "one-cycle", "warmup": 0.3}, "training": {"epochs": 20, "batch": 128},
    })  # fmt: skip
    counts = {part: {name: max(1, int(n * share / k * (0.8 + 0.4 * ((i * 7) % k) / k)))
                     for i, name in enumerate(names)}
              for part, share in (("train", 4.5), ("validation", 0.5), ("test", 1.0))}  # fmt: skip
    bad = [{"name": "cat/0413.jpg", "reason": "truncated after 1 204 bytes"},
           {"name": "dog/readme.txt", "reason": "no image: text"}]  # fmt: skip
    write.write("data", 8.2, source=source, classes=names, channels=3, size=[32, 32], bad=bad,
                mean=[0.4914, 0.4822, 0.4465], std=[0.247, 0.2435, 0.2616], counts=counts)  # fmt: skip
    sizes = {part: sum(table.values()) for part, table in counts.items()}
    write.write(
        "split", how="stratified, seed 0", sizes=sizes, file="split.json", leaks=3, sha256="9f" * 32
    )
    layers = [{"name": f"body.{i}.{part}", "type": kind, "output": [64 << i, 32 >> i, 32 >> i],
               "parameters": 36_864 << (2 * i) if part == "conv" else 128 << i,
               "flops": 75_497_472 if part == "conv" else 131_072 >> i, "receptive_field": 3 + 6 * i}
              for i in range(4) for part, kind in (("conv", "Conv2d"), ("norm", "BatchNorm2d"))]  # fmt: skip
    layers.append({"name": "head", "type": "Linear", "output": [k], "parameters": 513 * k,
                   "flops": 1024 * k, "receptive_field": 32})  # fmt: skip
    write.write("model", name="fast", parameters=4_903_242, flops=612_345_678, layers=layers)
    write.write("sheet", 0.5, name="jittered training images", images=[
        {"png": image(i, names[i % k]), "label": names[i % k]} for i in range(32)])  # fmt: skip
    write.write("threads", 2.0, chosen=2, timings={"1": 0.412, "2": 0.238})


def _train(write: Writer, epochs: int, steps: int, best: float, draw: random.Random) -> None:
    rates = [1e-4 * 10 ** (4 * i / 79) for i in range(80)]
    losses = [2.3 - 0.9 / (1 + math.exp(-3 * math.log(r / 0.02))) + 60 * max(0, r - 0.3) ** 2
              + draw.gauss(0, 0.02) for r in rates]  # fmt: skip
    write.write("range-test", 20.0, rates=rates, losses=losses, rate=0.081,
                reason="the steepest fall of the loss, with a margin to where it rises")  # fmt: skip
    write.write("plan", epochs=epochs, steps=epochs * steps, reason="as the recipe says", step=0)
    total, low = epochs * steps, 1.0
    for epoch in range(1, epochs + 1):
        for i in range(1, steps + 1):
            step = (epoch - 1) * steps + i
            part = step / total
            rate = 0.081 * (part / 0.3 if part < 0.3 else (1 - part) / 0.7)
            write.write("step", 0.45, step=step, steps=total, epoch=epoch, rate=rate,
                        loss=0.6 + 1.7 * math.exp(-4 * part) + draw.gauss(0, 0.08),
                        images_per_second=2150 + draw.gauss(0, 60), seconds_left=0.45 * (total - step))  # fmt: skip
        part = epoch / epochs
        train = best * 0.45 + 0.5 * math.exp(-5 * part) * (1 - part * 0.9)
        validation = (
            best * 1.01
            + 0.45 * math.exp(-4.4 * part) * (1 - part * 0.7)
            + best * draw.gauss(0, 0.03)
        )
        better, low = validation < low, min(low, validation)
        write.write("epoch", 3.1, epoch=epoch, epochs=epochs, step=epoch * steps, train_error=train,
                    validation_error=validation, train_loss=2.9 * train, validation_loss=3 * validation,
                    seconds=30.1, rate=rate, best=better)  # fmt: skip
        write.write(
            "checkpoint", step=epoch * steps, file=f"checkpoint-{epoch * steps}.safetensors"
        )
    write.write("stop", reason="done")


def _judge(write: Writer, names: list[str], n: int, error: float, draw, image: Callable) -> None:
    k = len(names)
    write.write("look", 5.0, number=1, reason="end of training", n=n, error=error,
                interval=[error * 0.957, error * 1.044], loss=0.52)  # fmt: skip
    matrix = [[0] * k for _ in range(k)]
    for i in range(n):
        true = i % k
        hard = error * (0.4 + 1.2 * ((true * 3) % k) / max(k - 1, 1))
        near = (true + 1 if true % 2 == 0 else true - 1) % k
        said = true if draw.random() >= hard else near if draw.random() < 0.5 else draw.randrange(k)
        matrix[true][said] += 1
    write.write("confusion", split="test", classes=names, matrix=matrix)
    rows = [{"class": name, "n": sum(matrix[i]), "recall": matrix[i][i] / max(1, sum(matrix[i])),
             "precision": matrix[i][i] / max(1, sum(row[i] for row in matrix))}
            for i, name in enumerate(names)]  # fmt: skip
    write.write("per-class", split="test", rows=rows)
    items = [{"name": f"{names[i % k]}/{i:05d}.jpg", "png": image(i + 50, names[i % k]),
              "label": names[i % k], "predicted": names[(i * 3 + 1) % k], "probability": 0.999 - 0.01 * i}
             for i in range(18)]  # fmt: skip
    write.write("mistakes", split="test", items=items)


def findings() -> list[Line]:
    """Findings with every kind of evidence, and trials won, lost and open."""
    write = Writer()
    write.write("finding", id="learning-rate-too-large", severity="error", confidence=0.97, first_step=40,
                where="optimizer", explanation="One step along the gradient already raises the loss.",
                evidence={"loss_ratio": {"value": 3.2, "threshold": 1.0}, "beta": 41.5,
                          "loss along the gradient": {"x": [0, 0.01, 0.1, 1], "y": [2.3, 2.2, 2.6, 9.1],
                                                      "x_label": "step length"}},
                remedies=["optimizer.rate=0.008", "clip the gradient"])  # fmt: skip
    write.write("finding", id="relu-dead", severity="warning", confidence=0.8, first_step=120,
                where="body.2.act", explanation="Most units never fire.", remedies=["model.activation=leaky-relu"],
                evidence={"dead_share": 0.71, "dead_share_threshold": 0.4, "history": [0.1, 0.3, "nan", 0.7],
                          "share by layer": {"body.0": 0.02, "body.1": 0.3, "body.2": 0.71},
                          "examples": [{"png": png(3), "label": "cat"}]})  # fmt: skip
    write.write("finding", id="class-imbalance", severity="info", evidence={}, remedies=[])
    curve = {"steps": [0, 50, 100], "errors": [0.4, 0.35, 0.33]}
    write.write("trial", remedy="optimizer.rate=0.008", kept=True, seeds=3, interval=[-0.1, -0.04], seconds=21.5,
                control=curve, treatment={"steps": [0, 50, 100], "errors": [0.4, 0.28, 0.24]})  # fmt: skip
    write.write("trial", remedy="model.norm=group", kept=False, control=[[0, 0.4], [50, 0.3]],
                treatment=[[0, 0.4], [50, "nan"]], reason="no better than the control")  # fmt: skip
    write.write("trial", remedy="data.balanced=true")
    write.write("stage", name="first weights", decided="as it should be", seconds=0.01,
                evidence={"forward": {"a": 0.4, "b": 0.3}, "backward": {"a": 0.01, "b": 0.02}})  # fmt: skip
    write.write("stage", name="first steps", decided="kept optimizer.rate=0.008", seconds=2.5,
                evidence={"losses": {"x": [1, 2], "y": [2.3, "nan"]}, "steps_spent": 40.0})  # fmt: skip
    return write.lines


def resumed() -> list[Line]:
    """Killed in the fourth epoch, gone on from an earlier checkpoint a day later."""
    whole = ledger(epochs=6)
    cut = next(i for i, line in enumerate(whole) if line["kind"] == "epoch" and line["epoch"] == 4)
    back = next(
        i for i, line in enumerate(whole) if line["kind"] == "checkpoint" and line["step"] == 180
    )
    day = [{**line, "t": line["t"] + 86_400} for line in whole]
    return [*whole[:cut], {**day[0], "t": day[cut]["t"]}, {"kind": "resume", "t": day[cut]["t"], "step": 180},
            *day[back + 1 :]]  # fmt: skip


def broken_numbers() -> list[Line]:
    """Training that exploded: nan and inf wherever a number may stand."""
    lines = ledger(epochs=5, until="look")
    for n, line in enumerate(
        line for line in lines if line["kind"] in ("step", "epoch", "range-test")
    ):
        odd = ("nan", "inf", "-inf")[n % 3]
        for key in (
            "loss",
            "train_loss",
            "validation_loss",
            "validation_error",
            "rate",
            "images_per_second",
        ):
            if key in line and n % 2:
                line[key] = odd
        if line["kind"] == "range-test":
            line["losses"][-20:] = ["nan"] * 10 + ["inf"] * 10
    message = "loss is not finite at step 301; lower the rate with --set optimizer.rate=0.01"
    return [
        *lines,
        {
            "kind": "end",
            "t": lines[-1]["t"] + 1,
            "status": "failed",
            "message": message,
            "metrics": {},
        },
    ]


def scrambled() -> list[Line]:
    """Every kind, all its fields of the wrong type: a report shows less, and still stands."""
    lines, odd = [], [None, "text", 3, [], {}, [None], [[]], {"a": None}, True]
    fields = {key for line in [*ledger(epochs=1), *findings()] for key in line} - {
        "kind",
        "t",
    }
    for n, kind in enumerate(KINDS * len(odd)):
        lines.append({"kind": kind, "t": 1.79e9 + n, **{key: odd[(n // len(KINDS) + i) % len(odd)]
                      for i, key in enumerate(sorted(fields))}})  # fmt: skip
    return lines


def evil() -> list[Line]:
    """Markup, control characters and bait in every string a user or a file may bring."""
    lines = [
        *ledger(names=EVIL, epochs=3, source="/x/<script>alert(2)</script>"),
        *findings(),
    ]
    for n, line in enumerate(lines):
        bait = EVIL[n % len(EVIL)]
        for key in (
            "command",
            "reason",
            "message",
            "explanation",
            "id",
            "where",
            "how",
            "remedy",
            "file",
        ):
            if key in line and line["kind"] != "end":
                line[key] = bait
        for item in line.get("items", []) + line.get("bad", []):
            item["name"] = item["reason"] = bait
    lines.append({"kind": "finding", "t": 1.0, "id": "x", "evidence": {EVIL[0]: {"value": 1, "threshold": 2},
                  EVIL[1]: EVIL[2], "images": [{"png": '"><script>alert(3)</script>', "label": EVIL[0]}]}})  # fmt: skip
    lines.append({"kind": EVIL[0], "t": 2.0, EVIL[1]: EVIL[2]})
    return lines


def hundred() -> list[str]:
    words = [
        "apple",
        "bear",
        "castle",
        "dolphin",
        "elm",
        "forest",
        "girl",
        "hamster",
        "island",
        "jaguar",
    ]
    return [f"{word}_{i}" if i else word for i in range(10) for word in words]


CASES: dict[str, Callable[[], list[Line]]] = {
    "whole": ledger,
    "nothing": list,
    "begun": lambda: ledger(until="range-test"),
    "first steps": lambda: ledger()[:30],
    "half way": lambda: ledger()[:700],
    "stopped": lambda: [*ledger(until="stop"), {"kind": "stop", "t": 1.79e9, "reason": "sigint"},
                        {"kind": "end", "t": 1.79e9 + 2000, "status": "stopped", "message": "go on with --resume runs/x"}],
    "failed at once": lambda: [*ledger()[:3], {"kind": "end", "t": 1.79e9 + 9, "status": "failed",
                               "message": "data: no images in /x; give a folder of class folders"}],
    "two classes": lambda: ledger(names=["no", "yes"], epochs=4, n=200, best_error=0.02),
    "one class": lambda: ledger(names=["only"], epochs=2, n=50, best_error=0.0),
    "hundred classes": lambda: ledger(names=hundred(), epochs=8, best_error=0.34),
    "thousand classes": lambda: ledger(names=[f"n{i:08d}" for i in range(1000)], epochs=3, n=5000),
    "one epoch": lambda: ledger(epochs=1, steps=3),
    "no mistake": lambda: ledger(best_error=0.0, epochs=4),
    "tiny error": lambda: ledger(best_error=0.0021, epochs=15),
    "not finite": broken_numbers,
    "long names": lambda: ledger(names=[f"{'a very long class name ' * 8}number {i}" for i in range(12)], epochs=3),
    "findings": lambda: [*ledger(), *findings()],
    "resumed": resumed,
    "many looks": lambda: [*ledger(), *({**ledger()[-5], "number": 2 + i, "reason": "visus evaluate"} for i in range(3))],
    "wrong types": scrambled,
    "evil": evil,
    "no fields": lambda: [{"kind": kind} for kind in KINDS],
}  # fmt: skip
