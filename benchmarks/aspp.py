"""Does ASPP see objects of mixed scale better than the same network without it?

    python examples/compose.py PHOTOS /tmp/masks masks --n 2000
    python benchmarks/aspp.py /tmp/masks --out aspp.jsonl [--seeds 5] [--epochs 20]

Photographs of objects, 10 to 56 pixels wide, are pasted on other photographs. Pairs of trainings
with the same seed differ in `model.aspp` alone; the network without it has one 3x3 convolution of
the same width in its place. Prints 1 - mean IoU on test, and the mean difference with its 95 %
interval over the seeds (Student's t). Finished trainings are read from --out, so it can go on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from visus.data import prepare
from visus.ledger import Ledger
from visus.training import Session, evaluate, load_recipe

T95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def train(dataset: Any, seed: int, aspp: bool, edits: list[str]) -> dict[str, Any]:
    recipe = load_recipe(None, [
        f"seed={seed}", "training.precision=float32", "training.threads=1",
        f"model={{name = \"pyramid\", width = 12, aspp = {str(aspp).lower()}}}", *edits,
    ])  # fmt: skip
    began, session = time.monotonic(), Session(recipe, dataset, None, Ledger())
    for _ in session.run():
        pass
    seen = evaluate(session.best(), dataset.vault.look("benchmarks/aspp.py", Ledger()))
    weights = sum(p.numel() for p in session.model.parameters())
    rows = {row["name"]: row["value"] for row in seen.metrics()}
    return {"seed": seed, "aspp": aspp, "error": seen.error, "parameters": weights, "metrics": rows,
            "seconds": time.monotonic() - began}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=7.0, help="Begin no training after these.")
    given = parser.parse_args()
    dataset, began = prepare(given.data), time.monotonic()
    held = (
        [json.loads(line) for line in given.out.read_text().splitlines()]
        if given.out.exists()
        else []
    )
    known = {(row["seed"], row["aspp"]) for row in held}
    for seed in range(given.seeds):
        for aspp in (True, False):
            if (seed, aspp) in known or time.monotonic() - began > 60 * given.minutes:
                continue
            held.append(
                train(dataset, seed, aspp, [f"epochs={given.epochs}", "optimizer.rate=0.1"])
            )
            with open(given.out, "a") as file:
                file.write(json.dumps(held[-1]) + "\n")
    report(held)


def report(rows: list[dict[str, Any]]) -> None:
    by = {(row["seed"], row["aspp"]): row for row in rows}
    seeds = sorted({s for s, _ in by if (s, True) in by and (s, False) in by})
    for s in seeds:
        print(
            f"seed {s}: 1 - mIoU {by[s, True]['error']:.4f} with, {by[s, False]['error']:.4f} without"
        )
    gaps = [by[s, False]["error"] - by[s, True]["error"] for s in seeds]
    if len(gaps) > 1:
        half = T95.get(len(gaps) - 1, 2.0) * stdev(gaps) / len(gaps) ** 0.5
        print(
            f"mean IoU gained by ASPP: {mean(gaps):.4f} ({mean(gaps) - half:.4f} to {mean(gaps) + half:.4f}), {len(gaps)} seeds"
        )
        print(
            f"parameters {by[seeds[0], True]['parameters']} with, {by[seeds[0], False]['parameters']} without"
        )


if __name__ == "__main__":
    main()
