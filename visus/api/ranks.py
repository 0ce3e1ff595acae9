"""Several processes of one run (torchrun): rank 0 writes and looks at test, the others wait for it.

Alone, each of these is what it would be without ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from visus import data as images
from visus.api.run import recorded
from visus.errors import DataError
from visus.ledger import Ledger
from visus.training import Recipe
from visus.training.distributed import World, join
from visus.training.machine import choose_device

_LOST = ("Connection closed", "Connection reset", "remote worker", "NCCL")


def world() -> World:
    """This process among its ranks; their exchange needs the device of each to be chosen."""
    found = join()
    if found.size > 1:
        choose_device()
    return found


def agreed(world: World, choose: Callable[[], Path]) -> Path:
    """The folder that rank 0 chooses."""
    return Path(world.agree(str(choose()) if world.main else ""))


@contextmanager
def written(world: World, folder: Path, on: Iterable[Callable]) -> Iterator[Ledger]:
    """The ledger of the run in `folder`; the ranks after the first write to nobody.

    Nobody leaves before rank 0 has written how it ended. A rank that fails ends them all: the
    launcher sees to that.
    """
    if world.main:
        ledger = Ledger(folder, on=on)
        with recorded(folder, ledger):
            yield ledger
        world.agree(None)
        return
    try:
        yield Ledger()
        world.agree(None)
    except RuntimeError as error:
        if not any(word in str(error) for word in _LOST):
            raise
        sys.exit(1)  # another rank has failed, and says why itself


def prepared(
    world: World, data: Any, recipe: Recipe, folder: Path, ledger: Ledger
) -> images.Dataset:
    """The data set of all ranks: rank 0 decodes and divides first, the others find it done."""
    if not world.main:
        world.agree(None)
    dataset = images.prepare(
        data, seed=recipe.seed, folder=folder, ledger=ledger if world.main else None,
        **recipe.reading(),
    )  # fmt: skip
    if world.main:
        world.agree(None)
    if world.agree(dataset.split.sha256) != dataset.split.sha256:
        raise DataError(
            f"ranks: rank {world.rank} has other images than rank 0 at {data}; give all machines "
            "the same files and one shared folder with --out"
        )
    return dataset
