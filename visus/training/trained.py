"""The finished model: weights, the normalization of its input, and what it was made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from visus import __version__
from visus.errors import RunError, VisusError
from visus.training import checkpoint
from visus.training.classifier import Classifier
from visus.training.recipe import Recipe
from visus.training.tasks import make_task, task_of

NAME = "model"


class Trained(Classifier):
    """A `Classifier` in eval mode that knows its recipe, classes, size (H, W) and channels.

    Takes float images `(N, C, H, W)` in [0, 1] and gives logits `(N, K)`.
    """

    def __init__(self, network: nn.Module, facts: dict[str, Any]):
        super().__init__(network, facts["mean"], facts["std"])
        self.facts = facts
        self.recipe = Recipe.model_validate(facts["recipe"])
        self.classes: list[str] = list(facts["classes"])
        self.size: tuple[int, int] = (facts["size"][0], facts["size"][1])
        self.channels: int = facts["channels"]
        self.task = task_of(facts, self.recipe.task.options())
        self.metrics: dict[str, Any] = facts.get("metrics", {})
        self.eval()

    @property
    def model(self) -> nn.Module:
        """The module itself, for callers that think of the model as a part."""
        return self


def facts_of(recipe: Recipe, dataset: Any, mean: list[float], std: list[float]) -> dict[str, Any]:
    """What a model file holds beside the weights."""
    return {
        "visus": __version__,
        "recipe": recipe.tree(),
        "classes": list(dataset.classes),
        "size": list(dataset.size),
        "channels": dataset.channels,
        "mean": mean,
        "std": std,
        "task": make_task(recipe.task.name, dataset, **recipe.task.options()).described(),
    }


def save_trained(folder: Path, model: Trained) -> Path:
    """Write `model.safetensors` and `model.json` into the run."""
    return checkpoint.write(folder / NAME, model.state_dict(), model.facts)


def load_trained(folder: str | Path, network: nn.Module | None = None) -> Trained:
    """The finished model of a run folder, in eval mode.

    `network` is a fresh module of the same kind, for a run that trained a module of the
    caller's. Raises `RunError` where there is no model, it is damaged, or it does not fit.
    """
    stem = Path(folder) / NAME
    if not stem.with_suffix(".json").is_file():
        raise RunError(f"run: no model in {folder}; give a folder where 'visus train' has ended")
    tensors, facts = checkpoint.read(stem)
    try:
        model = Trained(network if network is not None else _network(facts), facts)
        model.load_state_dict(tensors)
    except (RuntimeError, KeyError, VisusError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f"run: the model in {folder} cannot be built: {reason}; a module of your own goes "
            "into load_trained(folder, network)"
        ) from None
    return model.eval()


def _network(facts: dict[str, Any]) -> nn.Module:
    recipe = Recipe.model_validate(facts["recipe"])
    size = (facts["size"][0], facts["size"][1])
    return task_of(facts).network(recipe.model, facts["channels"], size)
