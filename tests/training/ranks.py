"""Rank by rank a distributed training that is stopped once and goes on: `torchrun ranks.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: str) -> list[float]:
    """Train, one rank asking for a stop at step 5, then go on to the end; the losses."""
    sys.path.insert(0, str(Path(__file__).parent))
    import tiny_data

    from visus.ledger import Ledger
    from visus.training import Session, load_recipe

    sets = ["model=cnn", "model.width=4", "model.norm=none", "batch_size=8", "epochs=2", "jitter=none",
            "training.ema=0.9"]  # fmt: skip
    losses = []
    for stop in (5, 0):
        session = Session(load_recipe(None, sets), tiny_data.blobs(), folder, Ledger(folder))
        for step in session.run():
            losses.append(step.loss)
            if step.step == stop and session.world.rank == session.world.size - 1:
                session.stop("enough")
    return losses if session.world.main else []


if __name__ == "__main__":
    for loss in main(sys.argv[1]):
        print(loss)
