"""Does ASPP see objects of mixed scale better than the same network without it?

    python examples/compose.py PHOTOS /tmp/masks masks --n 2000
    python benchmarks/aspp.py /tmp/masks --out aspp.jsonl [--seeds 5] [--epochs 20]

Photographs of objects, 10 to 56 pixels wide, are pasted on other photographs. Pairs of trainings
with the same seed differ in `model.aspp` alone; the network without it has one 3x3 convolution of
the same width in its place. A third one, without ASPP, is so much wider that it has as many
parameters as the first. Prints 1 - mean IoU on test, and the mean differences with their 95 %
interval over the seeds (Student's t). Finished trainings are read from --out, so it can go on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from visus.data import prepare
from visus.ledger import Ledger
from visus.training import Session, evaluate, load_recipe

ARMS = {"aspp": (True, 12), "without": (False, 12), "wide": (False, 16)}  # name: (ASPP, width)
T95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def train(dataset: Any, seed: int, arm: str, edits: list[str]) -> dict[str, Any]:
    aspp, width = ARMS[arm]
    recipe = load_recipe(None, [
        f"seed={seed}", "training.precision=float32", "training.threads=1",
        f"model={{name = \"pyramid\", width = {width}, aspp = {str(aspp).lower()}}}", *edits,
    ])  # fmt: skip
    began, session = time.monotonic(), Session(recipe, dataset, None, Ledger())
    for _ in session.run():
        pass
    seen = evaluate(session.best(), dataset.vault.look("benchmarks/aspp.py", Ledger()))
    weights = sum(p.numel() for p in session.model.parameters())
    rows = {row["name"]: row["value"] for row in seen.metrics()}
    return {"seed": seed, "arm": arm, "error": seen.error, "parameters": weights, "metrics": rows,
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
    known = {(row["seed"], row["arm"]) for row in held}
    for seed, arm in itertools.product(range(given.seeds), ARMS):
        if (seed, arm) in known or time.monotonic() - began > 60 * given.minutes:
            continue
        held.append(train(dataset, seed, arm, [f"epochs={given.epochs}", "optimizer.rate=0.1"]))
        with open(given.out, "a") as file:
            file.write(json.dumps(held[-1]) + "\n")
    report(held)


def report(rows: list[dict[str, Any]]) -> None:
    """1 - mean IoU by seed, and what ASPP gains over each of the others."""
    by = {(row["seed"], row["arm"]): row for row in rows}
    for seed in sorted({seed for seed, _ in by}):
        errors = [f"{by[seed, arm]['error']:.4f} {arm}" for arm in ARMS if (seed, arm) in by]
        print(f"seed {seed}: 1 - mIoU {', '.join(errors)}")
    for arm in list(ARMS)[1:]:
        pairs = [(by[s, "aspp"], by[s, arm]) for s, a in by if a == arm and (s, "aspp") in by]
        gaps = [theirs["error"] - ours["error"] for ours, theirs in pairs]
        if len(gaps) > 1:
            half = T95.get(len(gaps) - 1, 2.0) * stdev(gaps) / len(gaps) ** 0.5
            print(
                f"mean IoU gained by ASPP over '{arm}': {mean(gaps):.4f} ({mean(gaps) - half:.4f} to "
                f"{mean(gaps) + half:.4f}), {len(gaps)} seeds; parameters {pairs[0][0]['parameters']} "
                f"against {pairs[0][1]['parameters']}"
            )


if __name__ == "__main__":
    main()
