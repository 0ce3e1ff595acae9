"""One trial: a training in memory that is judged on validation and may end early.

What it is given holds no vault: nothing here, or below, could look at test.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from visus.errors import DataError, NotFiniteError, VisusError
from visus.ledger import Ledger
from visus.training.reading import validate
from visus.training.recipe import Recipe
from visus.training.session import Session
from visus.training.tuning.dimension import Tree, put

WORST = 2.0  # above any rank: what a training that diverged is worth


@dataclass
class Outcome:
    """How a trial ended: done, pruned, late, diverged, failed or interrupted.

    Error and loss on validation are of the longest training that was finished, of `epochs`;
    `curve` holds [epochs, error] of each.
    """

    state: str = "done"
    reason: str = ""
    error: float | None = None
    loss: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)
    recipe: Recipe | None = None


def blind(dataset: Any) -> Any:
    """The data set without its test images."""
    return dataclasses.replace(dataset, vault=None)


def rank(error: float, loss: float, n: int) -> float:
    """Error and loss on `n` images as one number in the order of `judge.better`.

    The loss only ever decides between equal errors: its part is below half an image.
    """
    share = loss / (1 + loss) if math.isfinite(loss) else 1.0
    return error + share / (2 * n)


def attempt(
    tree: Tree, dataset: Any, budgets: Sequence[int], *, report: Callable[[float, int], bool],
    pause: Callable[[], str] = lambda: "", on: Callable[[Recipe], Any] = lambda recipe: None,
) -> Outcome:  # fmt: skip
    """Train the recipe of `tree` on `dataset`, once for each of `budgets` (epochs), from the start.

    Each is a whole training, its schedule from warm-up to the end: halfway through a long one the
    error says little about where it will end. `report(rank, epochs)` after each says whether to
    go on to the next; `pause()` before each step says why not to ("late", "interrupted"), or "".
    `on` sees the recipe when it has settled. A recipe that does not work is an outcome; data that
    cannot be read, `DataError`, is raised.
    """
    found, began = Outcome(), time.monotonic()
    try:
        for epochs in budgets:
            _train(tree, epochs, dataset, found, pause, on)
            if found.state != "done":
                break
            assert found.error is not None and found.loss is not None
            worth = rank(found.error, found.loss, len(dataset.validation))
            if not report(worth, epochs) and epochs != budgets[-1]:
                found.state = "pruned"
                break
    except NotFiniteError as error:
        found.state, found.reason = "diverged", str(error).split(";")[0]
        report(WORST, budgets[min(len(found.curve), len(budgets) - 1)])
    except DataError:
        raise
    except (VisusError, RuntimeError, ValueError) as error:
        found.state, found.reason = "failed", " ".join(str(error).split())
    found.seconds = time.monotonic() - began
    return found


def _train(tree: Tree, epochs: int, dataset: Any, found: Outcome, pause, on) -> None:
    """One training in memory; `found` gets what its best epoch was, as `visus train` keeps it."""
    tree = copy.deepcopy(tree)
    put(tree, "training.epochs", epochs)
    session = Session(validate(tree), dataset, None, Ledger())
    steps = session.run()
    for step in steps:
        if step.step == 1:
            on(session.recipe)
        if why := pause():
            found.state = why
            break
    steps.close()
    found.recipe = session.recipe
    if found.state == "done" and session.stopping:
        found.state = "interrupted"
    if found.state == "done" and session.best_facts:
        best = session.best_facts
        found.error, found.loss = float(best["validation_error"]), float(best["validation_loss"])
        found.epochs = epochs
        found.curve.append([epochs, found.error])
