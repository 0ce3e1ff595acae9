"""Training: the recipe, the loop, the range test, checkpoints, evaluation, the finished model.

`Session` carries a run out; `load_recipe` reads what to do, `evaluate` measures, and
`load_trained` brings the finished model back. See `session.py` for the whole in one page.
"""

from visus.training.checkpoint import seconds
from visus.training.evaluate import Evaluation, evaluate, wilson
from visus.training.plan import Clock
from visus.training.reading import load_recipe
from visus.training.recipe import Recipe
from visus.training.session import Session
from visus.training.trained import Trained, load_trained

__all__ = [
    "Clock",
    "Evaluation",
    "Recipe",
    "Session",
    "Trained",
    "evaluate",
    "load_recipe",
    "load_trained",
    "seconds",
    "wilson",
]
