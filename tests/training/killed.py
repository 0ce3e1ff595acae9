"""A training with everything random on, for the tests that kill it: `killed.py DATA FOLDER [key=value ...]`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

SETS = [
    "training.ema=0.98", "model.dropout=0.2", "model.width=8", "epochs=4", "optimizer.rate=0.05",
    "training.checkpoint_every=0.03", "training.threads=1", "training.precision=float32",
    "batch_size=32",
]  # fmt: skip


def main(data: str, folder: str, *sets: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from tiny_data import read_images

    from visus.ledger import Ledger
    from visus.training import Session, load_recipe

    torch.set_num_threads(1)
    session = Session(load_recipe(None, [*SETS, *sets]), read_images(data), folder, Ledger(folder))
    for step in session.run():
        print(step.step, step.loss.hex(), flush=True)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    main(*sys.argv[1:])
